"""A lower bound on latency that knows the limit on stages, by dynamic programming along chains.

In a chain each region depends on the one before it, at once or through others. Stages do not fall
along a chain, so each stage holds one run of it: at most ``max_stages`` runs. Where two neighbours
u, w of the chain share a stage, all regions between them (after u and before w) are in that stage
too, and it runs them one by one. Where they do not, w's stage starts after u's has ended, which has
then paid for sending u's value to w's slot, if no more; and it pays its overhead and u's value.
What engines slow each other down, limits of engines, and groups of regions can only add to it.
On a graph that is a chain the bound is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import cut_regions, longest_way

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]


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
    import numpy as np

    seconds, overhead = np.array(problem.seconds), np.array(problem.overhead)
    known: dict[tuple[int, int], Floats] = {}  # equal prices are one object
    free = np.zeros((problem.width, problem.width))
    # least[k, s]: the earliest end of the last region so far, in its (k+1)-th run, on slot s.
    least = np.full((max_stages, problem.width), INFINITY)
    least[0] = overhead + seconds[chain[0]]
    for u, w in pairwise(chain):
        inside = _between(u, w, ancestors)
        together, handed = seconds[w], free
        for r in inside:
            together = together + seconds[r]
        for i in problem.outputs[u]:
            if w in problem.values[i].consumers:
                key = id(problem.price[i]), id(problem.send[i])
                if key not in known:
                    known[key] = np.array(problem.price[i]) + np.array(problem.send[i])
                handed = handed + known[key]
        apart = (least[:-1, :, None] + handed).min(axis=1)
        apart += overhead + seconds[w] + longest_way(problem, inside)
        least = least + together
        np.minimum(least[1:], apart, out=least[1:])
    return float(least.min())


def _between(u: int, w: int, ancestors: Sequence[int]) -> list[int]:
    """Regions that u leads to and that lead to w."""
    found = []
    open_bits = ancestors[w] >> (u + 1)
    while open_bits:
        lowest = open_bits & -open_bits
        r = u + lowest.bit_length()
        if ancestors[r] >> u & 1:
            found.append(r)
        open_bits ^= lowest
    return found
