"""Turning a region-by-region choice of slots into stages, and tidying stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import Assignment, Schedule, schedule
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem

Stages = tuple[tuple[int, tuple[int, ...]], ...]
"""Stages in order, each a slot index and the indices of its regions."""

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]


def cut_into_stages(problem: Problem, slot_of: Sequence[int]) -> Stages:
    """Group a choice of slots into few convex stages, greedily.

    Each stage takes everything of its slot that can run now; the next slot is the one that can
    take the most. The regions keep their slots, so the number of stages is what it takes.
    """
    waiting = [len(before) for before in problem.predecessors]
    ready: list[set[int]] = [set() for _ in range(problem.width)]
    for region, count in enumerate(waiting):
        if count == 0:
            ready[slot_of[region]].add(region)
    stages: list[tuple[int, tuple[int, ...]]] = []
    while any(ready):
        reaches = [_reach(problem, slot_of, slot, waiting, now) for slot, now in enumerate(ready)]
        slot = max(range(problem.width), key=lambda s: len(reaches[s]))
        ready[slot].clear()
        for region in reaches[slot]:
            for after in problem.successors[region]:
                waiting[after] -= 1
                if waiting[after] == 0 and slot_of[after] != slot:
                    ready[slot_of[after]].add(after)
        stages.append((slot, tuple(sorted(reaches[slot]))))
    return tuple(stages)


def _reach(
    problem: Problem, slot_of: Sequence[int], slot: int, waiting: Sequence[int], now: set[int]
) -> list[int]:
    """Regions of the slot that can run one after another, from those that can run now."""
    left: dict[int, int] = {}
    ready = list(now)
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
    cuts = _cheapest_cuts(_moved(problem, slot_of, order), max_stages)
    return None if cuts is None else segments(order, cuts)


def _moved(problem: Problem, slot_of: Sequence[int], order: Sequence[int]) -> Floats:
    """The work each slot would take from another, per position of the order."""
    import numpy as np

    seconds = np.array(problem.seconds)[list(order)]
    positions, chosen = np.arange(len(order)), np.array(slot_of)[list(order)]
    left = seconds[positions, chosen]
    moved = np.where(np.isinf(seconds), INFINITY, left[:, None])
    moved[positions, chosen] = np.where(np.isinf(left), INFINITY, 0.0)
    return moved


def _cheapest_cuts(moved: Floats, max_stages: int) -> list[tuple[int, int]] | None:
    """The (slot, first position) of each stage of the cut that moves the least work."""
    import numpy as np

    size, width = moved.shape
    # least[k, s]: of the regions so far in k + 1 stages, the last on slot s.
    least = np.full((max_stages, width), INFINITY)
    least[0] = moved[0]
    opens = np.zeros((size, max_stages, width), dtype=bool)
    source = np.zeros((size, max_stages), dtype=np.int32)
    for position in range(1, size):
        source[position, 1:] = least[:-1].argmin(axis=1)
        before = least[:-1].min(axis=1)[:, None]
        opens[position, 1:] = before < least[1:]
        # A cut between two stages of one slot saves nothing, and the fewest stages win below.
        least[1:] = np.minimum(least[1:], before)
        least += moved[position]
    count, slot = (int(x) for x in np.unravel_index(least.argmin(), least.shape))
    if not least[count, slot] < INFINITY:
        return None
    cuts: list[tuple[int, int]] = []
    for position in range(size - 1, 0, -1):
        if opens[position, count, slot]:
            cuts.append((slot, position))
            slot, count = int(source[position, count]), count - 1
    return [(slot, 0), *reversed(cuts)]


def segments(order: Sequence[int], cuts: Sequence[tuple[int, int]]) -> Stages:
    """Stages from an order of regions and the (slot, first position) of each stage."""
    ends = [*(start for _, start in cuts[1:]), len(order)]
    return tuple(
        (slot, tuple(sorted(order[start:end])))
        for (slot, start), end in zip(cuts, ends, strict=True)
    )


def tidy(problem: Problem, assignment: Assignment) -> Stages:
    """Merge neighbouring stages of one slot wherever no number gets worse.

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
        and trial.value(Objective.ENERGY) <= current.value(Objective.ENERGY) * slack
    )
