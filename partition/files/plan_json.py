"""Plans as JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgeweave.partition.costs import Source
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.plan import (
    Alternative,
    Baseline,
    Certificate,
    Objective,
    Placement,
    Plan,
    Request,
    Stage,
)
from edgeweave.targets.backend import Slot


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data; durations are in seconds. :func:`plan_from_json` reads it back."""
    data = asdict(plan)
    data["request"]["objective"] = plan.request.objective.value
    data["certificate"]["objective"] = plan.certificate.objective.value
    data["certificate"]["gap"] = plan.certificate.gap
    for stage, entry in zip(plan.stages, data["stages"], strict=True):
        entry["name"] = stage.name
        entry["regions"] = list(stage.regions)
        entry["sources"] = {source.value: n for source, n in stage.sources.items()}
    for placement, entry in zip(plan.placements, data["placements"], strict=True):
        entry["source"] = placement.source.value
        entry["alternatives"] = list(entry["alternatives"])
    for key in ("stages", "placements", "baselines", "shortfall"):
        data[key] = list(data[key])
    return data


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """The plan that :func:`plan_to_json` wrote; PartitionError names what is missing or wrong."""
    try:
        return Plan(
            board=str(data["board"]),
            request=_request(data["request"]),
            stages=tuple(_stage(entry) for entry in data["stages"]),
            placements=tuple(_placement(entry) for entry in data["placements"]),
            latency_s=float(data["latency_s"]),
            interval_s=float(data["interval_s"]),
            interval_limit=str(data["interval_limit"]),
            energy_j=None if data["energy_j"] is None else float(data["energy_j"]),
            certificate=_certificate(data["certificate"]),
            baselines=tuple(Baseline(**entry) for entry in data["baselines"]),
            meets=bool(data["meets"]),
            shortfall=tuple(data["shortfall"]),
        )
    except KeyError as error:
        raise PartitionError(
            "plan", f"the key {error} is missing", "Write the plan anew"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise PartitionError("plan", f"it is not a plan: {error}", "Write the plan anew") from error


def _request(data: Mapping[str, Any]) -> Request:
    return Request(**{**data, "objective": Objective(data["objective"])})


def _slot(data: Mapping[str, Any]) -> Slot:
    return Slot(str(data["engine"]), str(data["backend"]))


def _stage(data: Mapping[str, Any]) -> Stage:
    return Stage(
        index=int(data["index"]),
        slot=_slot(data["slot"]),
        regions=tuple(int(r) for r in data["regions"]),
        compute_s=float(data["compute_s"]),
        transfer_s=float(data["transfer_s"]),
        start_s=float(data["start_s"]),
        end_s=float(data["end_s"]),
        sources={Source(name): int(n) for name, n in data["sources"].items()},
    )


def _placement(data: Mapping[str, Any]) -> Placement:
    return Placement(
        region=str(data["region"]),
        slot=_slot(data["slot"]),
        stage=int(data["stage"]),
        seconds=float(data["seconds"]),
        source=Source(data["source"]),
        alternatives=tuple(
            Alternative(**{**entry, "slot": _slot(entry["slot"])}) for entry in data["alternatives"]
        ),
    )


def _certificate(data: Mapping[str, Any]) -> Certificate:
    stated = {key: value for key, value in data.items() if key != "gap"}
    return Certificate(**{**stated, "objective": Objective(data["objective"])})
