"""A run as text: latency, interval, engines, stages, verification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeweave.compiler.cli.text import DASH, counted, digits, duration, table

REFERENCE = "reference"
_HUNDRED = 100  # below so many frames the nearest-rank p99 is the maximum


def show_run(data: Mapping[str, Any]) -> Iterator[str]:
    """Everything about one run of a bundle."""
    yield f"{data['model']} on {data['board']}, from {data['bundle']}"
    yield show_inputs(data["inputs"])
    measured = data["measurement"]
    word = measured["word"]
    if not data["board_known"] and word == "measured":
        board = "the one it was compiled on" if data["board"] == "host" else data["board"]
        yield f"measured on this machine, which is not known to be {board}"
    yield ""
    yield from _latency(data, measured, word)
    yield ""
    if word == REFERENCE:
        yield "times of a reference say how long it takes here, and nothing about the board"
        yield ""
    else:
        yield from _compared(data, measured, word)
        yield ""
    yield from _engines(measured, word)
    yield ""
    yield from _stages(data, measured, word)
    if data["verification"] is not None:
        yield ""
        yield from show_verification(data["verification"])


def show_inputs(inputs: Mapping[str, Any]) -> str:
    """What the frames held."""
    if not inputs["random"]:
        return "inputs: the given ones, the same in every frame"
    distinct = counted(inputs["distinct"], "frame")
    return f"inputs: random, seed {inputs['seed']}, {distinct} over and over"


def _latency(data: Mapping[str, Any], measured: Mapping[str, Any], word: str) -> Iterator[str]:
    latency, frames = measured["latency"], measured["frames"]
    few = f"; p99 and above of {frames} frames are their maximum" if frames < _HUNDRED else ""
    counts = f"{frames} frames, {measured['warmup']} before{few}"
    yield f"latency of frames that run alone, {word} ({counts})"
    keys = ("p50", "p90", "p99", "p999", "max")
    names = ("p50", "p90", "p99", "p99.9", "max")
    yield from table(names, [[duration(latency[f"{key}_s"]) for key in keys]])
    if word == REFERENCE:
        return
    if data["budget_s"] is None:
        yield "  no budget was set"
    else:
        yield (
            f"  over the budget of {duration(data['budget_s'])}: "
            f"{measured['misses']} of {frames} frames"
        )


def _compared(data: Mapping[str, Any], measured: Mapping[str, Any], word: str) -> Iterator[str]:
    predicted, ratio = data["predicted"], data["ratio"]
    rows = [
        [
            "latency (p50)",
            duration(measured["latency"]["p50_s"]),
            duration(predicted["latency_s"]),
            _number(ratio["latency"]),
        ],
        [
            "interval",
            duration(measured["interval_s"]),
            duration(predicted["interval_s"]),
            _number(ratio["interval"]),
        ],
    ]
    yield from table(["", word, "predicted", f"{word} / predicted"], rows)


def _number(value: float | None) -> str:
    return DASH if value is None else digits(value)


def _engines(measured: Mapping[str, Any], word: str) -> Iterator[str]:
    rows = [[name, f"{share:.0%}"] for name, share in measured["busy"].items()]
    yield from table(["engine", f"busy in the full pipeline, {word}"], rows)


def _stages(data: Mapping[str, Any], measured: Mapping[str, Any], word: str) -> Iterator[str]:
    rows = [
        [
            stage["name"],
            duration(measured["stage_s"][stage["name"]]),
            duration(measured["stage_streaming_s"][stage["name"]]),
            duration(stage["predicted_s"]),
        ]
        for stage in data["stages"]
    ]
    headers = ["stage (medians)", f"alone, {word}", f"overlapped, {word}", "predicted"]
    yield from table(headers, rows)


def show_verification(found: Mapping[str, Any], word: str = "") -> Iterator[str]:
    """How far each output is from ONNX Runtime's; ``word`` is that of the run, where it matters."""
    allowed = found["tolerance"]
    frames = counted(found["frames"], "distinct frame")
    run = f", {word}" if word else ""
    yield (
        f"verification against ONNX Runtime{run}: {'passed' if found['passed'] else 'FAILED'} "
        f"({frames}, |a - b| <= {allowed['atol']:g} + {allowed['rtol']:g} |b|)"
    )
    rows = [
        [
            output["name"],
            f"{output['max_abs']:.3g}",
            f"{output['max_rel']:.3g}",
            _agreement(output, found["output_steps"].get(output["name"])),
        ]
        for output in found["outputs"]
    ]
    yield from table(["output", "max abs error", "max rel error", ""], rows)
    for stage in found.get("stages", ()):
        calls = counted(stage["calls"], "call")
        yield (
            f"  {stage['stage']}: LiteRT's reference kernels and the NPU's integer arithmetic "
            f"differ in {stage['differing']} of {stage['values']:,} values ({calls})"
        )
        yield _layers(stage["layers"])


def _agreement(output: Mapping[str, Any], step: float | None) -> str:
    """What is wrong with an output, or how well it agrees; quantised ones count in steps."""
    if step is None:
        return output["mismatch"] or "equal within the tolerance"
    text = f"{_steps(output['max_abs'], output['mean_abs'], step)}, a step is {step:.3g}"
    if output["mismatch"]:
        text = f"{output['mismatch']} ({text})"
    if output["rounding"] is None:
        return f"{text}; 2 steps are allowed"
    most, mean = output["rounding"]
    return (
        f"{text}; ONNX Runtime itself moves by {_steps(most, mean, step)} when 1 % of its input is "
        "rounded otherwise"
    )


def _steps(most: float, mean: float, step: float) -> str:
    return f"{most / step:.3g} steps (mean {mean / step:.2g})"


def _layers(found: Mapping[str, Any]) -> str:
    """How a stage's layers agree with ONNX Runtime when each is given its values."""
    worst = f"at most {counted(found['steps'], 'step')} off" if found["steps"] else "no step off"
    where = f", in {found['layer']}" if found["steps"] > 1 else ""
    return (
        f"    layer by layer, each given ONNX Runtime's own values: {worst}{where} "
        f"({counted(found['layers'], 'layer')}, {found['share']:.2%} of the values differ)"
    )
