"""A lower bound on latency that knows the limit on stages, by dynamic programming along chains.

In a chain each region depends on the one before it, at once or through others. Stages do not fall
along a chain, so each stage holds one run of it: at most ``max_stages`` runs. Where two neighbours
u, w of the chain share a stage, all regions between them (after u and before w) are in that stage
too, and it runs them one by one. Where they do not, w's stage starts after u has ended and pays its
overhead and u's value first.
On a graph that is a chain the bound is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgeweave.partition.bounds import cut_regions
from edgeweave.partition.problem import INFINITY, Problem


@dataclass(frozen=True)
class Hop:
    """From one region of a chain to the next.

    ``together[s]``: seconds from the end of the one to the end of the next in one stage on slot s.
    ``apart[a][b]``: the least in two stages, the later of them on slot b.
    """

    together: tuple[float, ...]
    apart: tuple[tuple[float, ...], ...]


def latency_bound(problem: Problem, max_stages: int) -> float:
    """Seconds that no plan of at most so many stages is below; infinite when none exists."""
    before = _ancestors(problem)
    return max(_along(problem, chain, before, max_stages) for chain in set(_chains(problem)))


def _chains(problem: Problem) -> Iterator[tuple[int, ...]]:
    """The regions every way goes through, and the longest paths by the costs of different slots."""
    cuts = tuple(cut_regions(problem))
    if cuts:
        yield cuts
    fastest = [min(row) for row in problem.seconds]
    yield _longest_path(problem, fastest)
    for s in range(problem.width):
        costs = [row[s] for row in problem.seconds]
        yield _longest_path(
            problem, [f if c == INFINITY else c for f, c in zip(fastest, costs, strict=True)]
        )


def _longest_path(problem: Problem, weight: Sequence[float]) -> tuple[int, ...]:
    # The number of regions breaks ties, so that regions that cost nothing are still on the path.
    best: list[tuple[float, int]] = []
    came_from: list[int | None] = []
    for r in range(problem.size):
        source = max(problem.predecessors[r], key=lambda p: best[p], default=None)
        length, count = (0.0, 0) if source is None else best[source]
        best.append((length + weight[r], count + 1))
        came_from.append(source)
    path: list[int] = []
    at: int | None = max(range(problem.size), key=lambda r: best[r])
    while at is not None:
        path.append(at)
        at = came_from[at]
    return tuple(reversed(path))


def _ancestors(problem: Problem) -> list[int]:
    """For each region the set of regions that lead to it, as bits."""
    sets: list[int] = []
    for r in range(problem.size):
        bits = 0
        for p in problem.predecessors[r]:
            bits |= sets[p] | 1 << p
        sets.append(bits)
    return sets


def _along(
    problem: Problem, chain: Sequence[int], ancestors: Sequence[int], max_stages: int
) -> float:
    slots = range(problem.width)
    first = problem.seconds[chain[0]]
    # least[k][s]: the earliest end of the last region so far, in its (k+1)-th run, on slot s.
    least = [[INFINITY] * problem.width for _ in range(max_stages)]
    least[0] = [problem.overhead[s] + first[s] for s in slots]
    for u, w in pairwise(chain):
        hop = _hop(problem, u, w, ancestors)
        least = [
            [
                min(
                    least[k][s] + hop.together[s],
                    min(least[k - 1][a] + hop.apart[a][s] for a in slots) if k > 0 else INFINITY,
                )
                for s in slots
            ]
            for k in range(max_stages)
        ]
    return min(min(row) for row in least)


def _hop(problem: Problem, u: int, w: int, ancestors: Sequence[int]) -> Hop:
    slots = range(problem.width)
    inside = [r for r in range(u + 1, w) if ancestors[w] >> r & 1 and ancestors[r] >> u & 1]
    together = tuple(sum(problem.seconds[r][s] for r in (*inside, w)) for s in slots)
    longest: dict[int, float] = {}
    for r in inside:
        behind = (longest[p] for p in problem.predecessors[r] if p in longest)
        longest[r] = max(behind, default=0.0) + min(problem.seconds[r])
    between = max(longest.values(), default=0.0)
    handed = [i for i in problem.outputs[u] if w in problem.values[i].consumers]
    apart = tuple(
        tuple(
            problem.overhead[b]
            + sum(problem.price[i][a][b] for i in handed)
            + between
            + problem.seconds[w][b]
            for b in slots
        )
        for a in slots
    )
    return Hop(together, apart)
