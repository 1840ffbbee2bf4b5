"""Making a cost table smaller without losing its best plans, and finding its symmetries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeweave.partition.costs import CostTable
from edgeweave.partition.evaluate import Assignment
from edgeweave.partition.problem import INFINITY, Problem
from edgeweave.partition.staging import Stages


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
    """Drop slots that refuse everything and slots that another of their engine dominates."""
    slots = range(problem.width)
    useful = [s for s in slots if any(row[s] < INFINITY for row in problem.seconds)]
    stand_in: list[int | None] = [s if s in useful else None for s in slots]
    kept = list(useful)
    for s in useful:
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
    others = [a for a in kept if a not in (better, s)]
    return all(
        price[a][better] <= price[a][s] and price[better][a] <= price[s][a]
        for price in problem.price
        for a in others
    )


def take_slots(table: CostTable, slots: Sequence[int]) -> CostTable:
    """The table with only these slots, in this order."""
    return replace(
        table,
        slots=tuple(table.slots[s] for s in slots),
        costs=tuple(tuple(row[s] for s in slots) for row in table.costs),
        transfers=tuple(tuple(table.transfers[a][b] for b in slots) for a in slots),
        stage_overhead_s=tuple(table.stage_overhead_s[s] for s in slots),
    )


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
    if any(problem.overhead[s] != problem.overhead[swap[s]] for s in slots):
        return False
    if any(row[s] != row[swap[s]] for row in problem.seconds for s in slots):
        return False
    return all(
        price[a][b] == price[swap[a]][swap[b]]
        for price in set(problem.price)
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
