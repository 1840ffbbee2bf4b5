"""HEFT: list scheduling by upward rank and earliest finish.

Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for
heterogeneous computing", IEEE TPDS 13(3), 2002.
"""

from __future__ import annotations

from bisect import insort

from edgeweave.partition.problem import INFINITY, Problem


def heft_slots(problem: Problem) -> list[int]:
    """The slot HEFT gives each region; engines are its processors, with insertion."""
    ranks = upward_ranks(problem)
    busy: list[list[tuple[float, float]]] = [[] for _ in problem.engines]
    finish = [0.0] * problem.size
    slot_of = [-1] * problem.size
    # The index breaks ties of regions that cost nothing in favour of the topological order.
    for region in sorted(range(problem.size), key=lambda r: (-ranks[r], r)):
        best: tuple[float, float, int] | None = None
        for slot in range(problem.width):
            cost = problem.seconds[region][slot]
            ready = max(
                (
                    finish[p] + problem.price[i][slot_of[p]][slot]
                    for i in problem.inputs[region]
                    for p in (problem.values[i].producer,)
                ),
                default=0.0,
            )
            if cost == INFINITY or ready == INFINITY:
                continue
            start = _earliest_gap(busy[problem.engine_of[slot]], ready, cost)
            if best is None or start + cost < best[0]:
                best = (start + cost, start, slot)
        if best is None:  # no link leads to any slot that takes it; the plan is then invalid
            best = _first_taker(problem, region)
        finish[region], start, slot = best
        slot_of[region] = slot
        insort(busy[problem.engine_of[slot]], (start, finish[region]))
    return slot_of


def upward_ranks(problem: Problem) -> list[float]:
    """Mean cost of the longest way from each region to the end, mean transfers included."""
    rank = [0.0] * problem.size
    for region in reversed(range(problem.size)):
        takers = [c for c in problem.seconds[region] if c < INFINITY]
        tails = [0.0]
        for i in problem.outputs[region]:
            mean = _mean_price(problem, i)
            tails += [mean + rank[consumer] for consumer in problem.values[i].consumers]
        rank[region] = sum(takers) / len(takers) + max(tails)
    return rank


def _mean_price(problem: Problem, value: int) -> float:
    """Mean over the pairs of different slots that a link joins."""
    pairs = [
        price
        for a, row in enumerate(problem.price[value])
        for b, price in enumerate(row)
        if a != b and price < INFINITY
    ]
    return sum(pairs) / len(pairs) if pairs else 0.0


def _earliest_gap(busy: list[tuple[float, float]], ready: float, length: float) -> float:
    start = ready
    for begin, end in busy:
        if start + length <= begin:
            break
        start = max(start, end)
    return start


def _first_taker(problem: Problem, region: int) -> tuple[float, float, int]:
    slot = min(range(problem.width), key=lambda s: problem.seconds[region][s])
    return problem.seconds[region][slot], 0.0, slot
