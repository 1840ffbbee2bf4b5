"""Lower bounds that need no search: true of every plan, whatever its stages."""

from __future__ import annotations

from collections.abc import Sequence

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Matrix, Problem


def simple_bound(problem: Problem, objective: Objective) -> float:
    """What no plan can be below, in the unit of the objective, from costs alone.

    Latency: the longest way through the graph with every region on its fastest slot, and all work
    shared evenly by all engines; both after one stage overhead. Interval: the even share, the
    largest single region, and the shared memory. Energy: every region on its most frugal slot. What
    engines slow each other down comes on top.
    """
    if objective is Objective.ENERGY:
        return _least_energy(problem)
    fastest = [min(row) for row in problem.seconds]
    overhead = min(problem.overhead)
    share = (sum(fastest) + overhead) / len(problem.engines)
    if objective is Objective.INTERVAL:
        largest = max(
            min(c + o for c, o in zip(row, problem.overhead, strict=True))
            for row in problem.seconds
        )
        return max(share, largest, problem.memory_s)
    return max(share, overhead + max(longest_paths(problem, fastest)))


def _least_energy(problem: Problem) -> float:
    """Joules; a slot that states no power may draw none."""
    watts = [power or 0.0 for power in problem.power]
    work = sum(
        min(w * c for w, c in zip(watts, row, strict=True) if c < INFINITY)
        for row in problem.seconds
    )
    return work + min(w * o for w, o in zip(watts, problem.overhead, strict=True))


def serial_worst(problem: Problem, max_stages: int) -> float:
    """Seconds that all stages of a plan together do not exceed when none slows another down."""
    work = sum(max(c for c in row if c < INFINITY) for row in problem.seconds)
    moved = 0.0
    for value, price, send in zip(problem.values, problem.price, problem.send, strict=True):
        moved += _dearest(price) * min(len(value.consumers), max_stages) + _dearest(send)
    return work + moved + max_stages * max(problem.overhead)


def _dearest(price: Matrix) -> float:
    return max((p for row in price for p in row if p < INFINITY), default=0.0)


def longest_paths(problem: Problem, seconds: list[float]) -> list[float]:
    """For each region the most seconds on any way from a source up to and with it."""
    longest = [0.0] * problem.size
    for region in range(problem.size):
        before = max((longest[p] for p in problem.predecessors[region]), default=0.0)
        longest[region] = before + seconds[region]
    return longest


def tails(problem: Problem, seconds: list[float]) -> list[float]:
    """For each region the most seconds on any way from it, itself included, to the end."""
    longest = [0.0] * problem.size
    for region in reversed(range(problem.size)):
        behind = max((longest[c] for c in problem.successors[region]), default=0.0)
        longest[region] = behind + seconds[region]
    return longest


def longest_way(problem: Problem, regions: Sequence[int]) -> float:
    """The most seconds on any way through these regions, each on its fastest slot."""
    longest: dict[int, float] = {}
    for r in regions:
        behind = (longest[p] for p in problem.predecessors[r] if p in longest)
        longest[r] = max(behind, default=0.0) + min(problem.seconds[r])
    return max(longest.values(), default=0.0)


def cut_regions(problem: Problem) -> list[int]:
    """Regions that lie on every way through the graph, in order.

    Whatever comes before such a region is finished before it starts, and whatever comes after
    starts after it; between two of them the plan's parts cannot overlap.
    """
    n = problem.size
    # Everything before r leads to r when each of it has a successor not behind r; so for after.
    nearest = [min(after, default=n) for after in problem.successors]
    latest = [max(before, default=-1) for before in problem.predecessors]
    least_behind = [n] * (n + 1)
    for r in reversed(range(n)):
        least_behind[r] = min(least_behind[r + 1], latest[r])
    found, most_before = [], -1
    for r in range(n):
        if most_before <= r <= least_behind[r + 1]:
            found.append(r)
        most_before = max(most_before, nearest[r])
    return found
