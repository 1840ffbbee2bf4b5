"""Turning a region-by-region choice of slots into stages, and tidying stages."""

from __future__ import annotations

from collections.abc import Sequence

from edgeweave.partition.evaluate import Assignment, Schedule, schedule
from edgeweave.partition.problem import INFINITY, Problem

Stages = tuple[tuple[int, tuple[int, ...]], ...]
"""Stages in order, each a slot index and the indices of its regions."""

Cut = tuple[float, tuple[tuple[int, int], ...]]
"""What cutting an order costs, and the (slot, first position) of each stage."""


def cut_into_stages(problem: Problem, slot_of: Sequence[int]) -> Stages:
    """Group a choice of slots into few convex stages, greedily.

    Each stage takes everything of its slot that can run now; the next slot is the one that can
    take the most. The regions keep their slots, so the number of stages is what it takes.
    """
    waiting = [len(before) for before in problem.predecessors]
    open_regions = set(range(problem.size))
    stages: list[tuple[int, tuple[int, ...]]] = []
    while open_regions:
        slots = sorted({slot_of[r] for r in open_regions if waiting[r] == 0})
        reaches = {slot: _reach(problem, slot_of, slot, waiting, open_regions) for slot in slots}
        slot = max(slots, key=lambda s: len(reaches[s]))
        for region in reaches[slot]:
            open_regions.remove(region)
            for after in problem.successors[region]:
                waiting[after] -= 1
        stages.append((slot, tuple(sorted(reaches[slot]))))
    return tuple(stages)


def _reach(
    problem: Problem, slot_of: Sequence[int], slot: int, waiting: list[int], open_regions: set[int]
) -> list[int]:
    """Regions of the slot that can run now, one after another, on nothing but what is done."""
    left: dict[int, int] = {}
    ready = [r for r in open_regions if waiting[r] == 0 and slot_of[r] == slot]
    reached: list[int] = []
    while ready:
        region = ready.pop()
        reached.append(region)
        for after in problem.successors[region]:
            left[after] = left.get(after, waiting[after]) - 1
            if left[after] == 0 and slot_of[after] == slot:
                ready.append(after)
    return reached


def fit_to_stages(problem: Problem, slot_of: Sequence[int], max_stages: int) -> Stages | None:
    """Like :func:`cut_into_stages`, but with at most ``max_stages`` stages.

    When the choice needs more, regions leave their slots: along the order of the greedy stages the
    cut is taken that moves the least work, weighted by each region's cost on the slot it leaves.
    None when the refusals allow no such cut.
    """
    stages = cut_into_stages(problem, slot_of)
    if len(stages) <= max_stages:
        return stages
    order = [region for _, regions in stages for region in regions]
    slots = range(problem.width)

    def moved(region: int, slot: int) -> float:
        if problem.seconds[region][slot] == INFINITY:
            return INFINITY
        return 0.0 if slot == slot_of[region] else problem.seconds[region][slot_of[region]]

    best: dict[tuple[int, int], Cut] = {(1, s): (moved(order[0], s), ((s, 0),)) for s in slots}
    for position, region in enumerate(order[1:], start=1):
        new: dict[tuple[int, int], Cut] = {}
        for (count, slot), (cost, cuts) in best.items():
            for target in slots:
                used = count + (target != slot)
                total = cost + moved(region, target)
                if used > max_stages or total == INFINITY:
                    continue
                known = new.get((used, target))
                if known is None or total < known[0]:
                    path = cuts if target == slot else (*cuts, (target, position))
                    new[used, target] = (total, path)
        best = new
    if not best:
        return None
    _, cuts = min(best.values())
    return segments(order, cuts)


def segments(order: Sequence[int], cuts: Sequence[tuple[int, int]]) -> Stages:
    """Stages from an order of regions and the (slot, first position) of each stage."""
    ends = [*(start for _, start in cuts[1:]), len(order)]
    return tuple(
        (slot, tuple(sorted(order[start:end])))
        for (slot, start), end in zip(cuts, ends, strict=True)
    )


def tidy(problem: Problem, assignment: Assignment) -> Stages:
    """Merge neighbouring stages of one slot wherever neither latency nor interval gets worse.

    Merging saves an overhead, but may hold back what another engine waits for, so it is tried.
    """
    stages = tuple((slot, tuple(sorted(regions))) for slot, regions in assignment if regions)
    current = schedule(problem, stages)
    index = 0
    while index + 1 < len(stages):
        (slot, first), (next_slot, second) = stages[index], stages[index + 1]
        if slot == next_slot:
            joined = (slot, tuple(sorted(first + second)))
            merged = (*stages[:index], joined, *stages[index + 2 :])
            trial = schedule(problem, merged)
            if _no_worse(trial, current):
                stages, current = merged, trial
                continue
        index += 1
    return stages


def prefer_first_listed(problem: Problem, assignment: Assignment) -> Stages:
    """Move stages to an earlier slot of their engine wherever that costs nothing.

    A board lists its backends preferred first; equal costs are no reason for another one.
    """
    stages = tuple((slot, tuple(regions)) for slot, regions in assignment)
    current = schedule(problem, stages)
    for index, (slot, regions) in enumerate(stages):
        for other in range(slot):
            takes = all(problem.seconds[region][other] < INFINITY for region in regions)
            if problem.engine_of[other] != problem.engine_of[slot] or not takes:
                continue
            moved = (*stages[:index], (other, regions), *stages[index + 1 :])
            trial = schedule(problem, moved)
            if _no_worse(trial, current):
                stages, current = moved, trial
                break
    return tidy(problem, stages)


def _no_worse(trial: Schedule, current: Schedule) -> bool:
    slack = 1 + 1e-12
    return (
        trial.latency_s <= current.latency_s * slack
        and trial.interval_s <= current.interval_s * slack
    )
