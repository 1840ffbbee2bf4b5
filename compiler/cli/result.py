"""A placement as JSON data: the plan, the model it is for, and what became of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeweave.compiler.cli.compare import comparison
from edgeweave.compiler.cli.fallbacks import FALLBACK, find_fallbacks
from edgeweave.partition.files.plan_json import plan_to_json

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Compiled, Planned
    from edgeweave.partition.evaluate import Schedule
    from edgeweave.partition.plan import Plan
    from edgeweave.targets.backend import Slot
    from edgeweave.targets.board import Board


def planned_data(planned: Planned) -> dict[str, Any]:
    """The plan with its model, its rewrites and warnings, and what fell back."""
    model = planned.model
    return plan_to_json(planned.plan) | {
        "comparison": comparison(planned.plan),
        "model": model.path.name,
        "model_digest": model.digest,
        "rewrites": [asdict(rewrite) for rewrite in model.rewrites if rewrite.count],
        "quantized": _quantized(planned),
        "estimated": _numbers(planned.estimated),
        "warnings": [*model.warnings, *planned.checks.notes],
        "origins": origins(planned.board),
        "unchecked": _unchecked(planned),
        "fallbacks": find_fallbacks(planned.plan).to_json(),
    }


def _quantized(planned: Planned) -> dict[str, Any] | None:
    """How the model came to its precision; what stays in float with what it takes where it is."""
    if planned.quantized is None:
        return None
    report = planned.quantized.to_json()
    for region in report["kept_float"]:
        region |= _placed(planned, region["result"])
    return report


def _placed(planned: Planned, value: str) -> dict[str, Any]:
    nodes = planned.regions.view.nodes
    for members, placement in zip(planned.regions.nodes, planned.plan.placements, strict=True):
        if any(value in nodes[position].output for position in members):
            return {"slot": str(placement.slot), "predicted_s": placement.seconds}
    return {"slot": None, "predicted_s": None}


def _numbers(schedule: Schedule | None) -> dict[str, Any] | None:
    if schedule is None:
        return None
    return {
        "latency_s": schedule.latency_s,
        "interval_s": schedule.interval_s,
        "interval_limit": schedule.interval_limit,
    }


def table_data(plan: Plan) -> dict[str, Any]:
    """The plan of a cost table, its name, and what fell back where ONNX Runtime is a slot."""
    data = plan_to_json(plan) | {"comparison": comparison(plan), "costs": plan.board}
    if any(slot.backend == FALLBACK for slot in _slots(plan)):
        data["fallbacks"] = find_fallbacks(plan).to_json()
    return data


def _slots(plan: Plan) -> Iterator[Slot]:
    for placement in plan.placements:
        yield placement.slot
        yield from (other.slot for other in placement.alternatives)


def compiled_data(compiled: Compiled) -> dict[str, Any]:
    """What was planned, how each stage was built, and the bundle."""
    build = [asdict(choice) for choice in compiled.choices]
    return planned_data(compiled.planned) | {
        "build": build,
        "predicted": _numbers(compiled.schedule),
        "fallbacks": find_fallbacks(compiled.planned.plan, build).to_json(),
        "unfinished": [{"stage": s, "produces": p} for s, p in compiled.unfinished],
        "bundle": {"path": str(compiled.bundle), "bytes": _bytes(compiled)},
    }


def origins(board: Board) -> dict[str, int]:
    """How many numbers the board has, and how many of them nothing stands behind."""
    quantities = board.quantities().values()
    return {
        "numbers": len(quantities),
        "unsourced": sum(not quantity.is_sourced for quantity in quantities),
    }


def _unchecked(planned: Planned) -> int:
    """Regions whose placed code was never compared with ONNX Runtime's on this machine."""
    return sum(
        placement.slot.backend != FALLBACK
        and not planned.checks.is_checked(region, placement.slot.backend)
        for region, placement in zip(
            planned.regions.graph.regions, planned.plan.placements, strict=True
        )
    )


def _bytes(compiled: Compiled) -> int:
    bundle = compiled.bundle
    files = bundle.rglob("*") if bundle.is_dir() else [bundle]
    return sum(path.stat().st_size for path in files if path.is_file())
