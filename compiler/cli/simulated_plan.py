"""What `simulate` reads: the stages of a bundle, or of a folder that `plan --dump` wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.partition.contention import Contention
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.files.plan_json import plan_from_json
from edgeweave.partition.overlap import Job
from edgeweave.partition.plan import Plan

if TYPE_CHECKING:
    from edgeweave.runtime.bundle import Bundle

COSTS, PLAN = "03-costs.json", "04-plan.json"
_ADVICE = "give a bundle, or a folder that `plan --dump` wrote"


@dataclass(frozen=True)
class SimulatedPlan:
    """A plan as a simulation needs it; durations in seconds.

    ``stages`` are the names of ``jobs``. ``sources`` counts the regions by where their costs come
    from. ``memory`` says in words how the engines share their memory.
    """

    path: Path
    model: str
    board: str
    engines: tuple[str, ...]
    stages: tuple[str, ...]
    jobs: tuple[Job, ...]
    latency_s: float
    interval_s: float
    budget_s: float | None
    sources: Mapping[str, int]
    contention: Contention | None
    dram_bytes_per_s: float
    memory: str


def read_plan(source: Path) -> SimulatedPlan:
    """The plan of a bundle or of a dump; a usage error for anything else.

    Raises BundleError for a damaged bundle and PartitionError for costs that are none.
    """
    if source.is_dir() and (source / PLAN).exists():
        return _read_dump(source)
    if source.is_dir() and not (source / "manifest.json").exists():
        raise click.UsageError(f"{source} holds neither manifest.json nor {PLAN}; {_ADVICE}")
    if source.suffix == ".json":
        raise click.UsageError(f"{source} does not say which stage reads from which; {_ADVICE}")
    from edgeweave.runtime.bundle import open_bundle

    with open_bundle(source) as bundle:
        return _read_bundle(bundle)


def _read_dump(folder: Path) -> SimulatedPlan:
    from edgeweave.partition.files.table_json import read_table
    from edgeweave.partition.simulation.plan_jobs import plan_jobs

    plan = _read_json_plan(folder / PLAN)
    if not (folder / COSTS).exists():
        raise click.UsageError(f"{folder} holds no {COSTS}; {_ADVICE}")
    table = read_table(folder / COSTS)
    bandwidth = table.dram_bytes_per_s
    contention = table.contention
    if contention is not None:
        knee = contention.knee_bytes_per_s / 1e9
        memory = f"slows engines down above {knee:g} GB/s, slope {contention.slope:g}"
    elif bandwidth > 0 and any(table.dram_bytes):
        # What only the bandwidth bounds is shared fairly.
        contention = Contention(bandwidth)
        memory = f"shared fairly above its bandwidth of {bandwidth / 1e9:g} GB/s"
    else:
        memory = "no traffic is stated, so engines do not slow each other down"
    return SimulatedPlan(
        path=folder,
        model=folder.name,
        board=plan.board,
        engines=table.engines,
        stages=tuple(stage.name for stage in plan.stages),
        jobs=plan_jobs(plan.stages, table.values, table.dram_bytes, table.engines),
        latency_s=plan.latency_s,
        interval_s=plan.interval_s,
        budget_s=plan.request.budget_s,
        sources=_count(dict(stage.sources) for stage in plan.stages),
        contention=contention,
        dram_bytes_per_s=bandwidth,
        memory=memory,
    )


def _read_json_plan(path: Path) -> Plan:
    try:
        return plan_from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{path} is no JSON; {_ADVICE}") from error
    except PartitionError as error:
        raise click.UsageError(f"{path} holds no plan: {error.reason}; {_ADVICE}") from error


def _read_bundle(bundle: Bundle) -> SimulatedPlan:
    manifest = bundle.manifest
    engines = tuple(dict.fromkeys(stage.engine for stage in manifest.stages))
    maker = {spec.name: k for k, stage in enumerate(manifest.stages) for spec in stage.outputs}
    return SimulatedPlan(
        path=bundle.path,
        model=manifest.model,
        board=manifest.board,
        engines=engines,
        stages=tuple(stage.name for stage in manifest.stages),
        jobs=tuple(
            Job(
                engines.index(stage.engine),
                stage.predicted_s,
                0,
                tuple(sorted({maker[spec.name] for spec in stage.inputs if spec.name in maker})),
            )
            for stage in manifest.stages
        ),
        latency_s=manifest.predicted_latency_s,
        interval_s=manifest.predicted_interval_s,
        budget_s=manifest.budget_s,
        sources=_bundle_sources(bundle.root / "plan.json"),
        contention=None,
        dram_bytes_per_s=0.0,
        memory="a bundle states no traffic, so engines do not slow each other down",
    )


def _bundle_sources(path: Path) -> dict[str, int]:
    """Where the costs come from; nothing when the bundle was packed without its plan.

    What was timed as a whole when it was built is measured, whatever its regions' costs were.
    """
    if not path.is_file():
        return {}
    plan = _read_json_plan(path)
    build: Sequence[Mapping[str, Any]] = json.loads(path.read_bytes()).get("build", ())
    timed = {choice["stage"] for choice in build if choice.get("seconds") is not None}
    return _count(
        {"measured": len(stage.regions)} if stage.name in timed else dict(stage.sources)
        for stage in plan.stages
    )


def _count(parts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update({str(name): n for name, n in part.items()})
    return dict(total)
