"""The plan of several models on one board as JSON data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeweave.compiler.cli.show_plan import STAGE_HEADERS, stage_row
from edgeweave.compiler.cli.text import DASH, counted, duration, size, table
from edgeweave.partition.several.coschedule import RESPONSE

if TYPE_CHECKING:
    from edgeweave.partition.several.joint_plan import JointPlan, ModelPlan
    from edgeweave.partition.simulation.outcome import Simulation

UNBOUNDED = "unbounded"


def several_data(plan: JointPlan, run: Simulation) -> dict[str, Any]:
    """All of the plan, and its simulated run; durations are in seconds."""
    data = asdict(plan)
    for own, model in zip(data["models"], plan.models, strict=True):
        for entry, stage in zip(own["stages"], model.stages, strict=True):
            entry["name"] = stage.name
            entry["sources"] = {str(source): n for source, n in stage.sources.items()}
    simulated = asdict(run)
    for stream in simulated["streams"]:
        del stream["response_s"]
    return data | {"simulation": {"word": "simulated", **simulated}}


def show_several(plan: JointPlan, run: Simulation, data: Mapping[str, Any]) -> Iterator[str]:
    """Everything about the plan but what fell back."""
    names = ", ".join(model.name for model in plan.models)
    yield f"{counted(len(plan.models), 'model')} on {plan.board}: {names}"
    if "origins" in data:
        origins = data["origins"]
        yield (
            f"numbers of {plan.board}: {origins['numbers']}, "
            f"of which {origins['unsourced']} UNSOURCED"
        )
    yield ""
    yield from _stages(plan)
    yield ""
    yield from _models(plan)
    yield ""
    yield from _engines(plan)
    yield ""
    yield from _proof(plan)
    yield ""
    yield from show_comparison(plan)
    yield ""
    yield from _simulated(plan, run)
    if plan.shortfall:
        yield ""
        yield "what would have to change"
        yield from (f"  {sentence}" for sentence in plan.shortfall)
    yield ""


def _stages(plan: JointPlan) -> Iterator[str]:
    yield "stages, all times predicted"
    rows = [[model.name, *stage_row(stage)] for model in plan.models for stage in model.stages]
    yield from table(["model", *STAGE_HEADERS], rows)


def _models(plan: JointPlan) -> Iterator[str]:
    yield "models, the first priority goes first on every engine; times predicted"
    rows = [
        [
            model.name,
            str(model.priority),
            DASH if model.fps is None else f"{model.fps:g}",
            duration(model.latency_s),
            _response(model.response_s),
            duration(model.budget_s),
            _met(model),
        ]
        for model in sorted(plan.models, key=lambda model: model.priority)
    ]
    headers = ["model", "priority", "fps", "latency alone", "response at most", "budget", ""]
    yield from table(headers, rows)
    for model in plan.models:
        if model.assumed:
            yield f"  {model.name}: {model.assumed}"


def _response(seconds: float | None) -> str:
    return UNBOUNDED if seconds is None else duration(seconds)


def _met(model: ModelPlan) -> str:
    if model.period_s is None:
        return "nothing is asked of it"
    return "met" if model.meets else "missed"


def _engines(plan: JointPlan) -> Iterator[str]:
    unit = "share of its time" if plan.rated else "seconds for one frame of each model"
    yield f"engines, {unit}, predicted"
    names = [model.name for model in plan.models]
    rows = [
        [
            use.engine,
            *(_load(plan, use.busy[name]) for name in names),
            _load(plan, use.total),
            _kept(use.kept_bytes, use.capacity_bytes),
        ]
        for use in plan.engines
    ]
    rows.append(["shared memory", *("" for _ in names), _load(plan, plan.memory), ""])
    yield from table(["engine", *names, "in all", "keeps"], rows)
    yield f"  memory: {plan.memory_model}"


def _load(plan: JointPlan, load: float) -> str:
    return f"{load:.1%}" if plan.rated else duration(load)


def _kept(nbytes: int, capacity: int | None) -> str:
    if capacity is None:
        return DASH if nbytes == 0 else size(nbytes)
    return f"{size(nbytes)} of {size(capacity)}"


def _proof(plan: JointPlan) -> Iterator[str]:
    proof = plan.certificate
    state = "proven optimal" if proof.optimal else "not proven optimal"
    yield f"{proof.measure}: {_value(plan, proof.value)}, {state}"
    yield f"lower bound: {_value(plan, proof.bound)}; on the largest load: " + (
        f"{_load(plan, proof.load_bound)}, this plan's is {_load(plan, proof.load)}"
    )
    yield f"scope of the bounds: {proof.scope}"
    counts = " x ".join(map(str, proof.candidates))
    word = "none is better" if proof.exhausted else "not all were tried"
    yield f"of {counts} combinations of plans {word} ({duration(proof.wall_s)})"


def _value(plan: JointPlan, value: float | None) -> str:
    if value is None:
        return UNBOUNDED
    return f"{value:.3f}" if plan.certificate.measure == RESPONSE else _load(plan, value)


def show_comparison(plan: JointPlan) -> Iterator[str]:
    """What other ways to choose the plans amount to, beside this plan and the bound."""
    proof = plan.certificate
    yield f"other choices of plans, predicted: {proof.measure}"
    rows = [
        [
            row.name,
            _value(plan, row.value),
            _load(plan, row.load),
            "" if row.meets else "misses the request",
        ]
        for row in plan.baselines
    ]
    remark = "" if plan.meets else "misses the request"
    rows.append(["this plan", _value(plan, proof.value), _load(plan, proof.load), remark])
    rows.append(["lower bound", _value(plan, proof.bound), _load(plan, proof.load_bound), ""])
    yield from table(["choice", "value", "largest load", ""], rows)


def _simulated(plan: JointPlan, run: Simulation) -> Iterator[str]:
    yield "response, simulated; all first frames arrive at once"
    rows = []
    for model, stream in zip(plan.models, run.streams, strict=True):
        found = stream.response
        times = (
            [None] * 4 if found is None else [found.p50_s, found.p99_s, found.p999_s, found.max_s]
        )
        misses = DASH if stream.misses is None else f"{stream.misses} of {stream.frames}"
        rows.append([model.name, *map(duration, times), misses])
    yield from table(["model", "p50", "p99", "p99.9", "max", "misses"], rows)
    busy = ", ".join(f"{engine} {share:.0%}" for engine, share in run.busy.items())
    yield f"  engines busy, simulated: {busy}"
