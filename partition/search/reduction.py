"""Making a cost table smaller without losing its best plans, and finding its symmetries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from edgeweave.partition.costs import INFINITY, CostTable
from edgeweave.partition.evaluate import Assignment
from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.problem import Problem

T = TypeVar("T")


@dataclass(frozen=True)
class Reduction:
    """A table with fewer slots; ``kept[i]`` is the original index of its slot ``i``.

    ``stand_in[s]`` is the original slot that replaces slot ``s`` in every plan at no loss: itself,
    a slot of the same engine that is never worse, or None when ``s`` refuses every region.
    """

    problem: Problem
    kept: tuple[int, ...]
    stand_in: tuple[int | None, ...]

    def expand(self, assignment: Assignment) -> Stages:
        """The same placement in the slots of the original table."""
        return tuple((self.kept[slot], tuple(regions)) for slot, regions in assignment)

    def shrink(self, assignment: Assignment) -> Stages:
        """A placement on the original table, with dominated slots replaced by their stand-ins."""
        index = {slot: i for i, slot in enumerate(self.kept)}
        stages = []
        for slot, regions in assignment:
            target = self.stand_in[slot]
            if target is None:
                raise ValueError(f"slot {slot} refuses every region")
            stages.append((index[target], tuple(regions)))
        return tuple(stages)


def reduce_slots(problem: Problem) -> Reduction:
    """Drop slots that refuse everything and slots that another of their engine dominates.

    Where engines slow each other down a faster slot may be a loss, as it draws more from memory, so
    that only the first is done.
    """
    slots = range(problem.width)
    useful = [s for s in slots if any(row[s] < INFINITY for row in problem.seconds)]
    stand_in: list[int | None] = [s if s in useful else None for s in slots]
    kept = list(useful)
    for s in useful if problem.table.contention is None else ():
        for better in kept:
            if better != s and _dominates(problem, better, s, kept):
                kept.remove(s)
                stand_in = [better if t == s else t for t in stand_in]
                break
    return Reduction(Problem(take_slots(problem.table, kept)), tuple(kept), tuple(stand_in))


def _dominates(problem: Problem, better: int, s: int, kept: Sequence[int]) -> bool:
    """Whether every stage on ``s`` may move to ``better``, whatever the rest of the plan is."""
    if problem.engine_of[better] != problem.engine_of[s]:
        return False
    if problem.overhead[better] > problem.overhead[s]:
        return False
    if any(row[better] > row[s] for row in problem.seconds):
        return False
    if not _draws_no_more(problem.power[better], problem.power[s]):
        return False
    others = [a for a in kept if a not in (better, s)]
    return all(
        price[a][better] <= price[a][s] and price[better][a] <= price[s][a]
        for price in (*set(problem.price), *set(problem.send))
        for a in others
    )


def _draws_no_more(watts: float | None, other: float | None) -> bool:
    """Whether a power is known not to be the larger one; two that are not stated are equal."""
    if watts is None or other is None:
        return watts is other
    return watts <= other


def take_slots(table: CostTable, slots: Sequence[int]) -> CostTable:
    """The table with only these slots, in this order, and only their engines."""
    engines = dict.fromkeys(table.engines.index(table.slots[s].engine) for s in slots)
    return replace(
        table,
        slots=tuple(table.slots[s] for s in slots),
        costs=tuple(tuple(row[s] for s in slots) for row in table.costs),
        transfers=tuple(tuple(table.transfers[a][b] for b in slots) for a in slots),
        stage_overhead_s=tuple(table.stage_overhead_s[s] for s in slots),
        prices=tuple(
            None if given is None else tuple(tuple(given[a][b] for b in slots) for a in slots)
            for given in table.prices
        ),
        capacity_bytes=_pick(table.capacity_bytes, engines),
        engine_stages=_pick(table.engine_stages, engines),
        power_w=_pick(table.power_w, slots),
    )


def _pick(given: Sequence[T], indices: Iterable[int]) -> tuple[T, ...]:
    """What is given for these indices; nothing, where nothing is given at all."""
    return tuple(given[i] for i in indices) if given else ()


def identical_engines(problem: Problem) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more engines whose exchange changes no number of any plan."""
    groups: list[list[int]] = []
    for engine in range(len(problem.engines)):
        for group in groups:
            if all(_exchangeable(problem, other, engine) for other in group):
                group.append(engine)
                break
        else:
            groups.append([engine])
    return tuple(tuple(group) for group in groups if len(group) > 1)


def _exchangeable(problem: Problem, first: int, second: int) -> bool:
    swap = exchange(problem, first, second)
    if swap is None:
        return False
    slots = range(problem.width)
    for limits in (problem.capacity, problem.engine_stages):
        if limits[first] != limits[second]:
            return False
    if any(problem.overhead[s] != problem.overhead[swap[s]] for s in slots):
        return False
    if any(problem.power[s] != problem.power[swap[s]] for s in slots):
        return False
    if any(row[s] != row[swap[s]] for row in problem.seconds for s in slots):
        return False
    return all(
        price[a][b] == price[swap[a]][swap[b]]
        for price in (*set(problem.price), *set(problem.send))
        for a in slots
        for b in slots
    )


def exchange(problem: Problem, first: int, second: int) -> list[int] | None:
    """The slot each slot becomes when two engines change places, paired by backend."""
    table = problem.table
    of_first = {table.slots[s].backend: s for s in problem.slots_of(first)}
    of_second = {table.slots[s].backend: s for s in problem.slots_of(second)}
    if of_first.keys() != of_second.keys():
        return None
    swap = list(range(problem.width))
    for backend, s in of_first.items():
        swap[s], swap[of_second[backend]] = of_second[backend], s
    return swap


def in_canonical_order(problem: Problem, assignment: Assignment) -> Stages:
    """The same plan with identical engines renamed, so that each group is used in its order."""
    stages = tuple((slot, tuple(regions)) for slot, regions in assignment)
    for group in identical_engines(problem):
        for place, wanted in enumerate(group):
            used = [problem.engine_of[slot] for slot, _ in stages]
            rest = [e for e in group[place:] if e in used]
            if not rest:
                break
            first = min(rest, key=used.index)
            swap = exchange(problem, wanted, first)
            if swap is not None and first != wanted:
                stages = tuple((swap[slot], regions) for slot, regions in stages)
    return stages


def same_in_other_orders(problem: Problem, stages: Stages, most: int) -> Iterator[Stages]:
    """The plan, and plans with the same stages that differ only in numbering them; at most so many.

    Stages may change places unless one reads from the other or both are on one engine, so that each
    runs at the same time as before. Identical engines are named in the order of their first use.
    """
    stage_of = {r: k for k, (_, regions) in enumerate(stages) for r in regions}
    engines = [problem.engine_of[slot] for slot, _ in stages]
    before: list[set[int]] = [
        {i for i in range(k) if engines[i] == engine} for k, engine in enumerate(engines)
    ]
    for a, b in problem.edges:
        if stage_of[a] != stage_of[b]:
            before[stage_of[b]].add(stage_of[a])
    orders: list[tuple[int, ...]] = [()]
    while orders and most > 0:
        order = orders.pop()
        if len(order) == len(stages):
            yield in_canonical_order(problem, [stages[k] for k in order])
            most -= 1
        ready = (k for k in range(len(stages)) if k not in order and before[k] <= set(order))
        orders += [(*order, k) for k in sorted(ready, reverse=True)]
