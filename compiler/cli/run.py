"""``edgeweave run``."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.options import Tolerance
from edgeweave.compiler.cli.settings import Settings, settings_of, verb

if TYPE_CHECKING:
    from edgeweave.compiler.second_opinion import Recorder
    from edgeweave.runtime import compare
    from edgeweave.runtime.bundle import Bundle
    from edgeweave.runtime.pipeline import Pipeline


@verb("run", "Run a bundle on this machine.")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=FILE.npy|FILE.npz",
    help="An input's value, or all of them; may be repeated. Without it, inputs are random.",
)
@click.option(
    "--frames", type=click.IntRange(min=2), default=20, show_default=True, help="Frames to time."
)
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Frames that run untimed before.",
)
@click.option("--verify", is_flag=True, help="Compare with ONNX Runtime on the original model.")
@click.option("--atol", type=Tolerance(), default=1e-3, show_default=True, help="For --verify.")
@click.option("--rtol", type=Tolerance(), default=1e-3, show_default=True, help="For --verify.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the random inputs.")
@click.option(
    "--outputs",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.npz",
    help="Write the outputs of the first frame to this file.",
)
@click.pass_context
def command(
    context: click.Context,
    bundle: Path,
    inputs: tuple[str, ...],
    frames: int,
    warmup: int,
    verify: bool,
    atol: float,
    rtol: float,
    seed: int,
    outputs: Path | None,
    as_json: bool,
) -> None:
    """Run BUNDLE on this machine: frames alone for the latency, then overlapped for the interval.

    The output says whether the times are measured, emulated or of a reference, and whether this
    machine is known to be the one that BUNDLE was compiled for. With --verify it exits with 7 when
    an output differs by more than the tolerance.
    """
    from edgeweave.compiler.cli.frames import read_frame

    given = read_frame(inputs) if inputs else None
    from edgeweave.compiler.second_opinion import Recorder
    from edgeweave.runtime import compare
    from edgeweave.runtime.bundle import open_bundle
    from edgeweave.runtime.pipeline import Pipeline

    with open_bundle(bundle) as opened:
        from edgeweave.compiler.cli.frames import random_frames

        distinct = (
            [given] if given is not None else random_frames(opened.manifest.inputs, frames, seed)
        )
        tolerance = compare.Tolerance(atol, rtol) if verify else None
        recorder = Recorder()
        with Pipeline(opened, loaders=recorder.loaders) as pipeline:
            checks = (tolerance, recorder)
            data = _run(settings_of(context), pipeline, distinct, (frames, warmup), checks)
            if outputs is not None:
                from edgeweave.compiler.cli.frames import write_outputs

                write_outputs(outputs, dict(pipeline.run(distinct[0])))
        data["inputs"] = {"random": given is None, "distinct": len(distinct), "seed": seed}
        data |= _predicted(opened, data)
    if as_json:
        click.echo(json.dumps(data, indent=1))
    else:
        from edgeweave.compiler.cli.show_run import show_run

        for line in show_run(data):
            click.echo(line)
    _judge(bundle, data)


def _run(
    settings: Settings,
    pipeline: Pipeline,
    distinct: list[Any],
    counts: tuple[int, int],
    checks: tuple[compare.Tolerance | None, Recorder],
) -> dict[str, Any]:
    """Measure, and verify when there is a tolerance; the results as JSON data."""
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.cli.streams import note
    from edgeweave.runtime.measure import measure
    from edgeweave.runtime.verify import verify

    frames, warmup = counts
    tolerance, recorder = checks
    data: dict[str, Any] = {"notes": list(pipeline.notes), "verification": None}
    for text in pipeline.notes:
        note(settings, text)
    with Narrator(settings) as narrator:
        narrator("run", 0, 1, f"{frames} frames alone, then {frames} overlapped")
        measured = measure(pipeline, list(islice(cycle(distinct), frames)), warmup)
        data["measurement"] = asdict(measured)
        if tolerance is not None:
            narrator("verify", 0, 1, "ONNX Runtime on the original model")
            recorder.recording = True
            found = verify(pipeline.bundle, distinct, tolerance, pipeline)
            recorder.recording = False
            outputs = [asdict(o) | {"passed": o.passed} for o in found.outputs]
            stages = [asdict(s) | {"passed": s.passed} for s in recorder.agreements()]
            passed = found.passed and all(stage["passed"] for stage in stages)
            data["verification"] = asdict(found) | {
                "outputs": outputs,
                "stages": stages,
                "passed": passed,
            }
    return data


def _predicted(bundle: Bundle, data: dict[str, Any]) -> dict[str, Any]:
    """What the bundle's plan says, and how many times as long it took."""
    from edgeweave.targets.cpuinfo import read_cpu

    manifest = bundle.manifest
    measured = data["measurement"]
    latency_s, interval_s = manifest.predicted_latency_s, manifest.predicted_interval_s
    return {
        "bundle": str(bundle.path),
        "model": manifest.model,
        "board": manifest.board,
        # of other boards nothing tells whether this machine is one
        "board_known": manifest.board_identity == read_cpu().identity,
        "budget_s": manifest.budget_s,
        "predicted": {"latency_s": latency_s, "interval_s": interval_s},
        "ratio": {
            "latency": _ratio(measured["word"], measured["latency"]["p50_s"], latency_s),
            "interval": _ratio(measured["word"], measured["interval_s"], interval_s),
        },
        "stages": [
            {
                "name": stage.name,
                "engine": stage.engine,
                "backend": stage.backend,
                "predicted_s": stage.predicted_s,
            }
            for stage in manifest.stages
        ],
    }


def _ratio(word: str, value: float, predicted: float) -> float | None:
    """None where there is nothing to divide by, or the time is of a reference."""
    return value / predicted if predicted > 0 and word != "reference" else None


def _judge(bundle: Path, data: dict[str, Any]) -> None:
    """Raise VerificationError when an output differs by more than the tolerance."""
    found = data["verification"]
    if found is None or found["passed"]:
        return
    from edgeweave.compiler.errors import VerificationError
    from edgeweave.compiler.second_opinion import STEPS

    for stage in found["stages"]:
        if stage["layers"]["steps"] > STEPS:
            raise VerificationError(
                str(bundle),
                f"stage {stage['stage']}: layer {stage['layers']['layer']} is "
                f"{stage['layers']['steps']} steps from ONNX Runtime, given its values",
                "Report it with the model; it is a fault of edgeweave",
            )
        if not stage["passed"]:
            raise VerificationError(
                str(bundle),
                f"stage {stage['stage']}: {stage['differing']} of {stage['values']} values of "
                "LiteRT's reference kernels are not those of the NPU's integer arithmetic",
                "Report it with the model; it is a fault of edgeweave",
            )
    wrong = [output for output in found["outputs"] if not output["passed"]]
    told = "; ".join(f"{output['name']!r}: {output['mismatch']}" for output in wrong)
    raise VerificationError(
        str(bundle),
        f"{len(wrong)} of {len(found['outputs'])} outputs differ from ONNX Runtime's: {told}",
        "Report it with the model, or allow more with --atol and --rtol",
    )
