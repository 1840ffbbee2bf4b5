"""A lower bound on latency along the regions that every way through the graph passes.

Number the stages of a plan in their order. A region that every way passes is ordered against all
others, so of the stages between two such regions, u in stage k and w in stage k + j, all work lies
between u and w. For j = 1 and 2 each of these stages waits for the one before it: stage k + 1 reads
what follows from u in stage k, and the last one holds w, which all work before it leads to. They
run one after another, and every region between u and w adds its seconds on one of their slots. Only
for j > 2 can two of them run side by side; then the longest way counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import cut_regions, longest_way

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


def cut_latency_bound(problem: Problem, max_stages: int) -> float:
    """Seconds that no plan of at most so many stages is below; 0 where no region is on every way.

    What engines slow each other down, limits of engines and groups of regions can only add to it.
    """
    cuts = cut_regions(problem)
    return _Chain(problem, cuts, max_stages).bound() if cuts else 0.0


class _Chain:
    """The dynamic program; ``least[k, s]`` is the earliest end of a cut region in stage k on s."""

    def __init__(self, problem: Problem, cuts: Sequence[int], max_stages: int) -> None:
        import numpy as np

        self.problem, self.cuts, self.stages = problem, cuts, max_stages
        self.seconds = np.array(problem.seconds)
        self.overhead = np.array(problem.overhead)
        self.prices: dict[tuple[int, int], Array] = {}  # equal prices are one object

    def bound(self) -> float:
        least = self._start(range(self.cuts[0]))
        for u, w in pairwise(self.cuts):
            least = self._pass(least, u, w)
        return self._finish(least, range(self.cuts[-1] + 1, self.problem.size))

    def _start(self, head: range) -> Array:
        """Ends of the first cut region, with all regions in front of it."""
        import numpy as np

        first = self.seconds[self.cuts[0]]
        work = self.seconds[list(head)]
        least = np.full((self.stages, self.problem.width), INFINITY)
        least[0] = self.overhead + work.sum(axis=0) + first
        if self.stages > 1 and len(head) > 0:
            both = self.overhead[:, None] + self.overhead + _cheaper(work)
            both += self._cheapest_handover(head, self.cuts[0])
            least[1] = both.min(axis=0) + first
        if self.stages > 2 and len(head) > 1:
            least[2:] = (
                self.overhead.min() + longest_way(self.problem, head) + self.overhead + first
            )
        return least

    def _pass(self, before: Array, u: int, w: int) -> Array:
        """Ends of the next cut region."""
        import numpy as np

        inside = range(u + 1, w)
        work = self.seconds[u + 1 : w]
        handover = self._cheapest_handover(range(u, w), w)
        least = before + work.sum(axis=0)
        if self.stages > 1:
            serial = handover + self.overhead + _cheaper(work)
            np.minimum(least[1:], (before[:-1, :, None] + serial).min(axis=1), out=least[1:])
        if self.stages > 2 and len(inside) > 0:
            serial = self._by_way_of(work, handover)
            np.minimum(least[2:], (before[:-2, :, None] + serial).min(axis=1), out=least[2:])
        if self.stages > 3 and len(inside) > 1:
            side = self.overhead + longest_way(self.problem, inside)
            start = np.minimum.accumulate(before.min(axis=1))[:-3]
            np.minimum(least[3:], start[:, None] + side, out=least[3:])
        found: Array = least + self.seconds[w]
        return found

    def _by_way_of(self, work: Array, handover: Array) -> Array:
        """Seconds from one slot to another with a stage of its own between: ``[from, to]``."""
        import numpy as np

        ends = _cheaper(work, keep=True)  # [region, from, to]
        found = np.full(handover.shape, INFINITY)
        for s in range(self.problem.width):
            inner = np.minimum(ends, work[:, s, None, None]).sum(axis=0)
            way = handover[:, s, None] + handover[None, s, :] + self.overhead[s] + self.overhead
            np.minimum(found, inner + way, out=found)
        return found

    def _finish(self, least: Array, tail: range) -> float:
        """The least end of all, with the regions behind the last cut region."""
        import numpy as np

        work = self.seconds[list(tail)]
        best = float((least + work.sum(axis=0)).min())
        if self.stages > 1 and len(tail) > 0:
            last = self.cuts[-1]
            serial = self._cheapest_handover(range(last, self.problem.size), None)
            serial = serial + self.overhead + _cheaper(work)
            best = min(best, float((least[:-1, :, None] + serial).min()))
        if self.stages > 2 and len(tail) > 1:
            side = float(self.overhead.min()) + longest_way(self.problem, tail)
            best = min(best, float(np.min(least[:-2])) + side)
        return best

    def _cheapest_handover(self, makers: range, last: int | None) -> Array:
        """The least that handing over one value costs both sides, between slots.

        Of the values made by ``makers`` and read by one of them or by the region ``last``.
        """
        import numpy as np

        prices = []
        for r in makers:
            for i in self.problem.outputs[r]:
                value = self.problem.values[i]
                if value.feedback or not any(c in makers or c == last for c in value.consumers):
                    continue
                key = id(self.problem.price[i]), id(self.problem.send[i])
                if key not in self.prices:
                    both = np.array(self.problem.price[i]) + np.array(self.problem.send[i])
                    self.prices[key] = both
                prices.append(self.prices[key])
        shape = (self.problem.width, self.problem.width)
        found: Array = np.min(prices, axis=0) if prices else np.full(shape, INFINITY)
        return found


def _cheaper(work: Array, *, keep: bool = False) -> Array:
    """For each pair of slots the sum, or the list, of each region's seconds on the better one."""
    import numpy as np

    least = np.minimum(work[:, :, None], work[:, None, :])
    found: Array = least if keep else least.sum(axis=0)
    return found
