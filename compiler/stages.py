"""From a plan to built stages, and to the content of the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeweave.compiler.checks import Checks
from edgeweave.compiler.choose import Choice, choose, stage_of
from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.estimates import estimated_time
from edgeweave.compiler.model import Model
from edgeweave.compiler.pack import BuiltStage, BundleContent
from edgeweave.compiler.regions import Regions
from edgeweave.compiler.split import cut_stage
from edgeweave.compiler.tolerances import output_scales
from edgeweave.partition.costs import CostTable
from edgeweave.partition.evaluate import Schedule
from edgeweave.partition.files.plan_json import plan_to_json
from edgeweave.partition.plan import Plan, Stage
from edgeweave.partition.prediction.refine import BuiltTime, refine
from edgeweave.targets.board import Board

if TYPE_CHECKING:
    from edgeweave.compiler.quantize.report import QuantizeReport

# A backend whose regions cost this much more than the planned one's is not built for comparison.
_WORTH_TRYING = 2.0


@dataclass(frozen=True)
class BuiltStages:
    """All stages of a plan, how each was chosen, and the plan's numbers with their times."""

    stages: tuple[BuiltStage, ...]
    choices: tuple[Choice, ...]
    schedule: Schedule


def build_stages(
    regions: Regions,
    plan: Plan,
    table: CostTable,
    board: Board,
    checks: Checks,
    folder: Path,
    progress: Callable[[str, int, int, str], None],
) -> BuiltStages:
    """Build every stage of the plan in folders of their own below ``folder``.

    On this machine each stage is also built by the engine's other backends where their regions'
    costs come near, and the cheapest by measured cost is kept.
    """
    stages: list[BuiltStage] = []
    choices: list[Choice] = []
    for stage in plan.stages:
        progress("build", stage.index, len(plan.stages), stage.name)
        engine = board.engine(stage.slot.engine)
        source = cut_stage(regions, stage.name, stage.slot, stage.regions)
        backends = _backends(stage, table) if board.is_host else (stage.slot.backend,)
        artifact, choice = choose(
            source, engine, backends, folder / stage.name, timed=board.is_host
        )
        chosen = replace(source.stage, slot=choice.slot)
        stages.append(stage_of(chosen, engine, artifact))
        choices.append(choice)
    times = [
        BuiltTime(choice.slot, stage.regions, choice.seconds)
        if built.artifact.estimate is None
        else estimated_time(stage, built.artifact, table)
        for stage, choice, built in zip(plan.stages, choices, stages, strict=True)
    ]
    schedule = refine(table, times)
    predicted = tuple(
        replace(stage, predicted_s=time.compute_s + time.transfer_s)
        for stage, time in zip(stages, schedule.stages, strict=True)
    )
    return BuiltStages(predicted, tuple(choices), schedule)


def _backends(stage: Stage, table: CostTable) -> tuple[str, ...]:
    """The planned backend, then the engine's others that take every region at a similar cost."""
    planned = sum(
        _seconds(table, region, table.slots.index(stage.slot)) for region in stage.regions
    )
    others = []
    for column, slot in enumerate(table.slots):
        if slot.engine == stage.slot.engine and slot != stage.slot:
            costs = [table.seconds(region, column) for region in stage.regions]
            known = [cost for cost in costs if cost is not None]
            if len(known) == len(costs) and sum(known) < _WORTH_TRYING * planned:
                others.append(slot.backend)
    return (stage.slot.backend, *others)


def _seconds(table: CostTable, region: int, column: int) -> float:
    return table.seconds(region, column) or 0.0


def bundle_content(
    model: Model,
    board: Board,
    plan: Plan,
    built: BuiltStages,
    reference: bool,
    quantized: QuantizeReport | None = None,
) -> BundleContent:
    """What the packer writes: stages, plan with the choices made, and the original model."""
    data = plan_to_json(plan) | {
        "model": model.path.name,
        "rewrites": [asdict(rewrite) for rewrite in model.rewrites if rewrite.count],
        "warnings": list(model.warnings),
        "build": [_choice_to_json(choice) for choice in built.choices],
        "predicted": {
            "latency_s": built.schedule.latency_s,
            "interval_s": built.schedule.interval_s,
            "interval_limit": built.schedule.interval_limit,
        },
    }
    if quantized is not None:
        data["quantized"] = quantized.to_json()
    return BundleContent(
        model=model.path.name,
        model_digest=model.digest,
        board=board.name,
        board_identity=board.identity,
        inputs=model.inputs,
        outputs=model.outputs,
        stages=built.stages,
        plan=json.loads(json.dumps(data)),
        reference=_serialised(model) if reference else None,
        predicted_latency_s=built.schedule.latency_s,
        predicted_interval_s=built.schedule.interval_s,
        budget_s=plan.request.budget_s,
        output_steps=output_scales(model.proto) if quantized is None else quantized.output_steps,
    )


def _choice_to_json(choice: Choice) -> dict[str, Any]:
    return asdict(choice)


def _serialised(model: Model) -> bytes:
    try:
        return model.original.SerializeToString(deterministic=True)
    except ValueError as error:
        raise CompileError(
            model.path.name,
            "the original model is too large to go into the bundle (protobuf ends at 2 GB)",
            "Leave it out with --no-reference; `run --verify` then has nothing to compare with",
        ) from error
