"""A simulated run as JSON data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeweave.compiler.cli.text import DASH, counted, digits, duration, table

if TYPE_CHECKING:
    from edgeweave.compiler.cli.simulated_plan import SimulatedPlan
    from edgeweave.partition.simulation.outcome import Simulation
    from edgeweave.partition.simulation.stream import Stream

_FULL = 0.95  # an engine that is busy for less has time left
_KEPT = 1.02  # times the period: frames that leave this often leave as they arrive


def simulation_data(
    plan: SimulatedPlan, stream: Stream, run: Simulation, seed: int
) -> dict[str, Any]:
    """The run of one stream, with what it was made from; durations are in seconds."""
    data = asdict(run)
    (own,) = data.pop("streams")
    del own["response_s"], own["name"]
    for stage, name, job in zip(own["stages"], plan.stages, plan.jobs, strict=True):
        stage |= {"name": name, "planned_s": job.seconds}
    return {
        "source": str(plan.path),
        "model": plan.model,
        "board": plan.board,
        "word": "simulated",
        "costs": dict(plan.sources),
        "memory_model": plan.memory,
        "arrival": {
            "period_s": stream.period_s,
            "jitter_s": stream.jitter_s,
            "spread": stream.spread,
            "queue_depth": stream.room,
            "drop": stream.drop,
            "deadline_s": stream.deadline_s,
            "seed": seed,
        },
        "predicted": {"latency_s": plan.latency_s, "interval_s": plan.interval_s},
        **own,
        "elapsed_s": data["elapsed_s"],
        "busy": data["busy"],
        "memory": data["memory"],
        "critical": {"engine": run.engine, "stage": plan.stages[run.stage[1]]},
        "limit": _limit(stream, run),
    }


def _limit(stream: Stream, run: Simulation) -> str:
    """What keeps frames from leaving faster: the source, an engine, or the frames in flight."""
    interval = run.streams[0].interval_s
    if stream.period_s is not None and (interval or 0.0) <= _KEPT * stream.period_s:
        return "source"
    return run.engine if run.busy[run.engine] >= _FULL else "frames in flight"


def show_simulation(data: Mapping[str, Any]) -> Iterator[str]:
    """Everything about one simulated run."""
    yield f"{data['model']} on {data['board']}, from {data['source']}"
    costs = ", ".join(f"{n} {source}" for source, n in data["costs"].items())
    yield f"simulated; costs of regions: {costs or 'as the bundle predicts its stages'}"
    yield f"memory: {data['memory_model']}"
    yield _arrival(data)
    yield ""
    yield from _latencies(data)
    yield ""
    yield from _interval(data)
    yield ""
    rows = [[name, f"{share:.0%}"] for name, share in data["busy"].items()]
    if data["memory"] is not None:
        rows.append(["shared memory", f"{data['memory']:.0%}"])
    yield from table(["engine", "busy, simulated"], rows)
    yield ""
    rows = [
        [
            stage["name"],
            duration(stage["planned_s"]),
            f"{stage['busy']:.0%}",
            f"{stage['slowdown']:.2f}",
        ]
        for stage in data["stages"]
    ]
    yield from table(["stage", "alone, as planned", "busy, simulated", "times as long"], rows)
    critical = data["critical"]
    yield f"critical: engine {critical['engine']}, stage {critical['stage']}"


def _arrival(data: Mapping[str, Any]) -> str:
    arrival = data["arrival"]
    text = counted(data["frames"], "frame")
    if arrival["period_s"] is None:
        text += ", each as soon as there is room"
    else:
        text += f", one per {duration(arrival['period_s'])}"
        if arrival["jitter_s"]:
            text += f" ± {duration(arrival['jitter_s'])}"
    if arrival["spread"]:
        text += f", stages' times spread by {arrival['spread']:.3g}"
    return f"{text}; at most {arrival['queue_depth']} in flight, seed {arrival['seed']}"


def _latencies(data: Mapping[str, Any]) -> Iterator[str]:
    keys = ("p50", "p90", "p99", "p999", "max")
    rows = [
        [name, *(duration(data[which][f"{key}_s"]) for key in keys)]
        for which, name in (
            ("latency", "latency (admission to end)"),
            ("response", "response (arrival to result)"),
        )
    ]
    yield from table(["simulated", "p50", "p90", "p99", "p99.9", "max"], rows)
    deadline = data["arrival"]["deadline_s"]
    frames = data["frames"]
    if deadline is None:
        yield "  no deadline was set"
    else:
        yield f"  over the deadline of {duration(deadline)}: {data['misses']} of {frames} frames"
    yield f"  dropped: {data['dropped']}, waited for room: {data['held']}"


def _interval(data: Mapping[str, Any]) -> Iterator[str]:
    predicted = data["predicted"]
    rows = [
        ["latency (p50)", data["latency"]["p50_s"], predicted["latency_s"]],
        ["interval", data["interval_s"], predicted["interval_s"]],
    ]
    yield from table(
        ["", "simulated", "plan's", "simulated / plan's"],
        [
            [name, duration(own), duration(other), digits(own / other) if own and other else DASH]
            for name, own, other in rows
        ],
    )
    limit = data["limit"]
    if limit == "source":
        yield "  the source sets the interval: frames leave as they arrive"
    elif limit == "frames in flight":
        yield "  the frames in flight set the interval: more --depth would fill the engines"
    else:
        yield f"  engine {limit} sets the interval"
