"""HEFT: list scheduling by upward rank and earliest finish.

Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for
heterogeneous computing", IEEE TPDS 13(3), 2002.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Matrix, Problem


def heft_slots(problem: Problem) -> list[int]:
    """The slot HEFT gives each region; engines are its processors, with insertion."""
    ranks = upward_ranks(problem)
    busy = [_Busy() for _ in problem.engines]
    finish = [0.0] * problem.size
    slot_of = [-1] * problem.size
    # The index breaks ties of regions that cost nothing in favour of the topological order.
    for region in sorted(range(problem.size), key=lambda r: (-ranks[r], r)):
        best: tuple[float, float, int] | None = None
        waits = [i for i in problem.inputs[region] if not problem.values[i].feedback]
        for slot in range(problem.width):
            cost = problem.seconds[region][slot]
            ready = max(
                (
                    finish[p] + problem.price[i][slot_of[p]][slot]
                    for i in waits
                    for p in (problem.values[i].producer,)
                ),
                default=0.0,
            )
            if cost == INFINITY or ready == INFINITY:
                continue
            start = busy[problem.engine_of[slot]].earliest(ready, cost)
            if best is None or start + cost < best[0]:
                best = (start + cost, start, slot)
        if best is None:  # no link leads to any slot that takes it; the plan is then invalid
            best = _first_taker(problem, region)
        finish[region], start, slot = best
        slot_of[region] = slot
        busy[problem.engine_of[slot]].add(start, finish[region])
    return slot_of


@dataclass
class _Busy:
    """When an engine works: the begins and the ends of its times of work, ascending.

    Regions that follow each other without a gap are one such time, so that few are looked at.
    """

    begins: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def earliest(self, ready: float, length: float) -> float:
        """The first start from ``ready`` on that leaves room for so many seconds."""
        start = ready
        for i in range(bisect_right(self.ends, ready), len(self.ends)):
            if start + length <= self.begins[i]:
                break
            start = max(start, self.ends[i])
        return start

    def add(self, begin: float, end: float) -> None:
        if begin == end:
            return
        i = bisect_left(self.begins, begin)
        joins_last = i > 0 and self.ends[i - 1] == begin
        joins_next = i < len(self.begins) and self.begins[i] == end
        if joins_last and joins_next:
            self.ends[i - 1] = self.ends[i]
            del self.begins[i], self.ends[i]
        elif joins_last:
            self.ends[i - 1] = end
        elif joins_next:
            self.begins[i] = begin
        else:
            self.begins.insert(i, begin)
            self.ends.insert(i, end)


def upward_ranks(problem: Problem) -> list[float]:
    """Mean cost of the longest way from each region to the end, mean transfers included."""
    means = {id(matrix): _mean_price(matrix) for matrix in problem.price}
    rank = [0.0] * problem.size
    for region in reversed(range(problem.size)):
        takers = [c for c in problem.seconds[region] if c < INFINITY]
        tails = [0.0]
        for i in problem.outputs[region]:
            if not problem.values[i].feedback:
                mean = means[id(problem.price[i])]
                tails += [mean + rank[consumer] for consumer in problem.values[i].consumers]
        rank[region] = sum(takers) / len(takers) + max(tails)
    return rank


def _mean_price(matrix: Matrix) -> float:
    """Mean over the pairs of different slots that a link joins."""
    pairs = [
        price
        for a, row in enumerate(matrix)
        for b, price in enumerate(row)
        if a != b and price < INFINITY
    ]
    return sum(pairs) / len(pairs) if pairs else 0.0


def _first_taker(problem: Problem, region: int) -> tuple[float, float, int]:
    slot = min(range(problem.width), key=lambda s: problem.seconds[region][s])
    return problem.seconds[region][slot], 0.0, slot
