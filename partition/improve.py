"""Small changes to a plan: moving one region, changing the slot of one stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter

from edgeweave.partition.evaluate import TOLERANCE, Assignment, Schedule, schedule
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import INFINITY, Problem
from edgeweave.partition.staging import Stages, tidy


def relocations(
    problem: Problem, assignment: Assignment, region: int, slot: int
) -> Iterator[Stages]:
    """Every legal plan that differs in one thing: the region runs on the slot.

    It joins a stage of that slot that stands between what it reads and what reads it, or gets a
    stage of its own, for which its present stage may be split in two.
    """
    if problem.seconds[region][slot] == INFINITY:
        return
    stages = [(s, tuple(regions)) for s, regions in assignment]
    stage_of = {r: k for k, (_, regions) in enumerate(stages) for r in regions}
    here = stage_of[region]
    low = max((stage_of[p] for p in problem.predecessors[region]), default=0)
    high = min((stage_of[c] for c in problem.successors[region]), default=len(stages) - 1)
    for k in range(low, high + 1):
        if stages[k][0] == slot and k != here:
            yield from _linked(problem, _moved(stages, region, here, k), region)
    own, rest = stages[here]
    others = tuple(r for r in rest if r != region)
    alone = (slot, (region,))
    if not others:
        yield from _linked(problem, (*stages[:here], alone, *stages[here + 1 :]), region)
        return
    after = _descendants(problem, region, others)
    front, back = tuple(r for r in others if r not in after), tuple(sorted(after))
    split = [(own, front), alone, (own, back)]
    parts = tuple(part for part in split if part[1])
    yield from _linked(problem, (*stages[:here], *parts, *stages[here + 1 :]), region)


def _moved(stages: Sequence[tuple[int, tuple[int, ...]]], region: int, a: int, b: int) -> Stages:
    changed = list(stages)
    changed[a] = (stages[a][0], tuple(r for r in stages[a][1] if r != region))
    changed[b] = (stages[b][0], tuple(sorted((*stages[b][1], region))))
    return tuple(stage for stage in changed if stage[1])


def _descendants(problem: Problem, region: int, among: Sequence[int]) -> set[int]:
    """Members that depend on the region, in a convex set that holds all of them."""
    found: set[int] = set()
    for r in sorted(among):
        if any(p == region or p in found for p in problem.predecessors[r]):
            found.add(r)
    return found


def _linked(problem: Problem, stages: Stages, region: int) -> Iterator[Stages]:
    """The plan, if links exist for all that the region reads and makes."""
    slot_of = {r: slot for slot, regions in stages for r in regions}
    for i in (*problem.inputs[region], *problem.outputs[region]):
        value = problem.values[i]
        for consumer in value.consumers:
            if problem.price[i][slot_of[value.producer]][slot_of[consumer]] == INFINITY:
                return
    yield stages


def stage_moves(problem: Problem, assignment: Assignment) -> Iterator[Stages]:
    """Every plan in which one stage runs on another slot that takes all of it."""
    stages = tuple((s, tuple(regions)) for s, regions in assignment)
    slot_of = {r: slot for slot, regions in stages for r in regions}
    for k, (old, regions) in enumerate(stages):
        for slot in range(problem.width):
            if slot == old or any(problem.seconds[r][slot] == INFINITY for r in regions):
                continue
            changed = {**slot_of, **dict.fromkeys(regions, slot)}
            if all(
                problem.price[i][changed[v.producer]][changed[c]] < INFINITY
                for i, v in enumerate(problem.values)
                for c in v.consumers
            ):
                yield (*stages[:k], (slot, regions), *stages[k + 1 :])


def polish(
    problem: Problem,
    start: Schedule,
    objective: Objective,
    max_stages: int,
    allowed: Callable[[Schedule], bool],
    deadline: float,
) -> Schedule:
    """Take improving small changes until none is left or the deadline (perf_counter) passes.

    Better is a lower objective, then a lower latency and interval, then fewer stages.
    """
    best = start
    while True:
        before = best
        for changes in _kinds_of_change(problem):
            for stages in changes(best.assignment):
                if perf_counter() > deadline:
                    return best
                if len(stages) > max_stages:
                    continue
                trial = schedule(problem, stages)
                if _better(trial, best, objective) and allowed(trial):
                    best = schedule(problem, tidy(problem, stages))
                    break
        if best is before:
            return best


def _kinds_of_change(problem: Problem) -> Iterator[Callable[[Assignment], Iterator[Stages]]]:
    yield partial(stage_moves, problem)
    for region in range(problem.size):
        yield partial(_region_moves, problem, region)


def _region_moves(problem: Problem, region: int, plan: Assignment) -> Iterator[Stages]:
    for slot in sorted({slot for slot, _ in plan}):
        yield from relocations(problem, plan, region, slot)


def _better(trial: Schedule, best: Schedule, objective: Objective) -> bool:
    def key(plan: Schedule) -> tuple[float, float, float]:
        return plan.value(objective), plan.latency_s, plan.interval_s

    for new, old in zip(key(trial), key(best), strict=True):
        if new < old * (1 - TOLERANCE):
            return True
        if new > old * (1 + TOLERANCE):
            return False
    return len(trial.stages) < len(best.stages)
