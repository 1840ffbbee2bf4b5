"""Lower bounds that need no search: true of every plan, whatever its stages."""

from __future__ import annotations

from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem


def simple_bound(problem: Problem, objective: Objective) -> float:
    """Seconds below which no plan can be, from costs alone.

    Latency: the longest way through the graph with every region on its fastest slot, and all work
    shared evenly by all engines; both after one stage overhead. Interval: the even share, the
    largest single region, and the shared memory.
    """
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


def longest_paths(problem: Problem, seconds: list[float]) -> list[float]:
    """For each region the most seconds on any way from a source up to and with it."""
    longest = [0.0] * problem.size
    for region in range(problem.size):
        before = max((longest[p] for p in problem.predecessors[region]), default=0.0)
        longest[region] = before + seconds[region]
    return longest


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
