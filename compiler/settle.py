"""Build a plan, and plan again from what its stages were measured to take as wholes.

A stage is faster than the sum of its regions: what fuses across them, and layouts that are kept,
show only there. Planned from sums alone, the stages of a pipeline come out unequal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeweave.compiler.judge import is_close, judged
from edgeweave.compiler.stages import BuiltStages, build_stages
from edgeweave.partition.evaluate import Schedule
from edgeweave.partition.plan import Plan, Request
from edgeweave.partition.portfolio import Limits
from edgeweave.partition.prediction.refine import BuiltTime, refined_table
from edgeweave.partition.solve import solve

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Planned

_ROUNDS = 4
_SEARCH_SHARE = 0.25  # of the time limit, for each plan after the first


def build_settled(
    planned: Planned, folder: Path, progress: Callable[[str, int, int, str], None]
) -> tuple[Planned, BuiltStages]:
    """Build the plan and, while its stages' measured times say otherwise, a better one.

    Returns the best by measured times, with the table it was planned from. On a board that is not
    this machine nothing is measured, and the plan is built as it is.
    """
    request = planned.plan.request
    again = replace(request, time_limit_s=request.time_limit_s * _SEARCH_SHARE)
    tried: list[tuple[Planned, BuiltStages]] = []
    seen: set[tuple[object, ...]] = set()
    for number in range(_ROUNDS):
        if (tried and not planned.plan.meets) or _key(planned.plan) in seen:
            break
        seen.add(_key(planned.plan))
        built = build_stages(
            planned.regions,
            planned.plan,
            planned.table,
            planned.board,
            planned.checks,
            folder / str(number),
            progress,
        )
        tried.append((planned, built))
        if not planned.board.is_host or is_close(planned.plan, built.schedule):
            break
        times = [
            BuiltTime(choice.slot, stage.regions, choice.seconds)
            for stage, choice in zip(planned.plan.stages, built.choices, strict=True)
        ]
        table = refined_table(planned.table, times)
        progress("plan", number, _ROUNDS, "from the measured stages")
        plan = solve(table, again, planned.board.name, built.schedule.assignment)
        planned = replace(planned, table=table, plan=replace(plan, request=request))
    best, built = min(tried, key=lambda pair: _rank(request, pair[1].schedule))
    return _judged(best, built), built


def _key(plan: Plan) -> tuple[object, ...]:
    return tuple((stage.slot, stage.regions) for stage in plan.stages)


def _judged(planned: Planned, built: BuiltStages) -> Planned:
    if not planned.board.is_host:
        return planned
    plan = judged(planned.plan, built.schedule, "by the measured times of the stages")
    return replace(planned, plan=plan)


def _limits(request: Request) -> Limits:
    return Limits(request.budget_s, request.max_interval_s)


def _rank(request: Request, measured: Schedule) -> tuple[bool, float]:
    return not _limits(request).admit(measured), measured.value(request.objective)
