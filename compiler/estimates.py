"""What vendors' tools say whole stages take, and the plan that follows from it.

A tool's figures do not add up: what it fuses or keeps in its own memory across regions shows in a
whole stage only. So a plan from figures of single regions is estimated stage by stage, and made
again from these, until its own numbers are theirs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.judge import judged
from edgeweave.compiler.split import cut_stage
from edgeweave.partition.costs import Cost, CostTable, Source
from edgeweave.partition.evaluate import Schedule
from edgeweave.partition.plan import Plan, Request, Stage
from edgeweave.partition.portfolio import Limits
from edgeweave.partition.prediction.refine import BuiltTime, refine, refined_table
from edgeweave.partition.solve import solve
from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.targets.backend import Artifact, Refusal, Slot
from edgeweave.targets.rules import has_estimates

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Planned

STAGE_RULE = "stage.vendor"
_ROUNDS = 6
# (phase, steps done, steps in all, what is being done)
Progress = Callable[[str, int, int, str], None]
_SEARCH_SHARE = 0.25  # of the time limit, for each plan after the first


def estimated_time(stage: Stage, artifact: Artifact, table: CostTable) -> BuiltTime:
    """The vendor's figure for a built stage as a time of it, with the cost of the call."""
    overhead_s = table.stage_overhead_s[table.slots.index(stage.slot)]
    seconds = None if artifact.estimate is None else artifact.estimate.seconds + overhead_s
    return BuiltTime(stage.slot, stage.regions, seconds, Source.VENDOR)


def plan_from_estimates(planned: Planned, progress: Progress) -> Planned:
    """The plan that is best by what vendors' tools say of its stages, with those numbers.

    Plans and estimates by turns until a plan comes again. Without stages of such tools the plan
    stays as it is. Where a tool cannot build a stage, though it takes each of its regions, the
    region that makes it fail is refused.
    """
    request, alone = planned.plan.request, planned.table
    again = replace(request, time_limit_s=request.time_limit_s * _SEARCH_SHARE)
    tried: dict[object, Planned] = {}
    with tempfile.TemporaryDirectory(prefix="edgeweave-") as folder:
        # a plan without such stages is known as it is, and a candidate beside those with them
        while len(tried) < _ROUNDS and (tried or _is_estimated(planned.plan)):
            found = _estimate(planned, Path(folder), progress)
            if isinstance(found, CostTable):
                alone = _with_refusals(alone, found)
                planned = _planned_again(planned, found, again, None)
                continue
            schedule, table = found
            known = replace(planned, table=table, estimated=schedule)
            tried[_key(known.plan)] = known
            planned = _planned_again(known, scaled(alone, known, gain=True), again, schedule)
            if _key(planned.plan) in tried:
                break
        if not tried:
            return planned
    best = _with_own_numbers(min(tried.values(), key=_rank), alone, again)
    if not _is_estimated(best.plan):
        return replace(best, estimated=None)
    schedule = _estimated(best)
    return replace(best, plan=judged(best.plan, schedule, "by the estimates of whole stages"))


def _with_own_numbers(known: Planned, alone: CostTable, request: Request) -> Planned:
    """The same plan made from the figures of its own stages, where it comes again."""
    again = _planned_again(known, scaled(alone, known, gain=False), request, known.estimated)
    return again if _key(again.plan) == _key(known.plan) else known


def scaled(alone: CostTable, known: Planned, *, gain: bool) -> CostTable:
    """The figures of the estimated stages, and those of single regions for all others.

    With ``gain`` others are given what the stages gained over their regions alone: what a region
    costs in a stage is far less than alone, and without this none would ever join a stage that
    others are in. It is a guess that the next estimate corrects.
    """
    rows = [list(row) for row in known.table.costs]
    for slot in {stage.slot for stage in known.plan.stages if has_estimates(stage.slot.backend)}:
        column = known.table.slots.index(slot)
        placed = {r for stage in known.plan.stages if stage.slot == slot for r in stage.regions}
        whole = sum(known.table.seconds(region, column) or 0.0 for region in placed)
        parts = sum(alone.seconds(region, column) or 0.0 for region in placed)
        share = min(1.0, whole / parts) if gain and parts > 0 else 1.0
        for region, row in enumerate(rows):
            cost = alone.costs[region][column]
            if region not in placed and isinstance(cost, Cost):
                row[column] = replace(cost, seconds=cost.seconds * share)
    return replace(known.table, costs=tuple(tuple(row) for row in rows))


def _with_refusals(alone: CostTable, table: CostTable) -> CostTable:
    pairs = zip(alone.costs, table.costs, strict=True)
    rows = (
        tuple(b if isinstance(b, Refusal) else a for a, b in zip(*row, strict=True))
        for row in pairs
    )
    return replace(alone, costs=tuple(rows))


def _planned_again(
    planned: Planned, table: CostTable, request: Request, hint: Schedule | None
) -> Planned:
    start = None if hint is None else hint.assignment
    plan = solve(table, request, planned.board.name, start)
    return replace(planned, table=table, plan=replace(plan, request=planned.plan.request))


def _is_estimated(plan: Plan) -> bool:
    return any(has_estimates(stage.slot.backend) for stage in plan.stages)


def _key(plan: Plan) -> tuple[object, ...]:
    return tuple((stage.slot, stage.regions) for stage in plan.stages)


def _rank(planned: Planned) -> tuple[bool, float]:
    request, schedule = planned.plan.request, _estimated(planned)
    limits = Limits(request.budget_s, request.max_interval_s)
    return not limits.admit(schedule), schedule.value(request.objective)


def _estimated(planned: Planned) -> Schedule:
    if planned.estimated is None:
        raise AssertionError("it was estimated before")
    return planned.estimated


def _estimate(
    planned: Planned, folder: Path, progress: Progress
) -> tuple[Schedule, CostTable] | CostTable:
    """The plan by its stages' figures and the table that follows.

    Where a tool cannot build a stage: the table with a region refused.
    """
    plan, table = planned.plan, planned.table
    times = []
    for stage in plan.stages:
        time = BuiltTime(stage.slot, stage.regions, None)
        if has_estimates(stage.slot.backend):
            progress("estimate", stage.index, len(plan.stages), stage.name)
            try:
                time = estimated_time(stage, _built(planned, stage, folder), table)
            except EdgeweaveError as error:
                return _refused(planned, stage, folder, error)
        times.append(time)
    return refine(table, times), refined_table(table, times)


def _built(planned: Planned, stage: Stage, folder: Path) -> Artifact:
    engine = planned.board.engine(stage.slot.engine)
    source = cut_stage(planned.regions, stage.name, stage.slot, stage.regions)
    return build_stage(source, engine, Path(tempfile.mkdtemp(dir=folder)))


def _refused(planned: Planned, stage: Stage, folder: Path, error: EdgeweaveError) -> CostTable:
    """The table without the region at which the stage begins to fail.

    The first regions of a stage are a stage of their own; how many of them build is bisected.
    """
    builds, fails = 0, len(stage.regions)
    while fails - builds > 1:
        middle = (builds + fails) // 2
        try:
            _built(planned, replace(stage, regions=stage.regions[:middle]), folder)
            builds = middle
        except EdgeweaveError as fault:
            fails, error = middle, fault
    reason = f"a stage with it and those before it cannot be built: {error.reason}"
    return refuse(planned.table, stage.regions[fails - 1], stage.slot, Refusal(STAGE_RULE, reason))


def refuse(table: CostTable, region: int, slot: Slot, refusal: Refusal) -> CostTable:
    """The table with one more refusal."""
    rows = [list(row) for row in table.costs]
    rows[region][table.slots.index(slot)] = refusal
    return replace(table, costs=tuple(tuple(row) for row in rows))
