"""How close simulated runs come to real ones on two engines of this machine, one core each.

A model is planned for the least interval and built. Every round times its stages in frames that run
alone, then runs a full pipeline and one that is fed with a period, and simulates both with the
stage times of that round: each simulated frame takes the times of one measured frame, drawn at
random. The rounds of all models alternate, so that what else the machine does meets all of them.

With --wait the stages do not work: they sleep for twice their planned times, with a spread, as a
host thread waits for an accelerator. The pipeline is real all the same, and what other programs
take from the cores matters less.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import onnx

from edgeweave.compiler.pipeline import Job, build_bundle, plan_model
from edgeweave.compiler.sampling import random_inputs
from edgeweave.partition import overlap
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.simulation.simulate import simulate
from edgeweave.partition.simulation.stream import Stream
from edgeweave.runtime.bundle import Bundle, open_bundle
from edgeweave.runtime.cpu_times import CpuTimes
from edgeweave.runtime.frames import FrameResult
from edgeweave.runtime.manifest import Manifest, StageEntry
from edgeweave.runtime.measure import LatencySummary
from edgeweave.runtime.pipeline import Pipeline
from edgeweave.runtime.runners import Loader, Value, find_loader
from edgeweave.targets.board import Board
from edgeweave.targets.cache import open_cache
from edgeweave.targets.host import detect_host

LIGHT = Path(onnx.__path__[0]) / "backend/test/data/light"
DEFAULT = [LIGHT / "light_squeezenet.onnx", LIGHT / "light_shufflenet.onnx"]
SHARED = Path(__file__).resolve().parents[2] / "shared/models"
WARMUP = 5  # frames before each measurement
SLACK = 1.25  # the period of a fed pipeline, in intervals of the full one
MANY = 20  # simulated frames per real one, so that the simulated tails are smooth
TIMES = ("alone", "overlapped")
WAIT = 2.0  # planned times that a stage sleeps
SPREAD = 0.2  # relative standard deviation of these sleeps
Frame = Mapping[str, Any]
Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Numbers:
    """What is compared of a run, in seconds; a latency ends with the frame's last stage."""

    interval_s: float
    p50_s: float
    p99_s: float


@dataclass(frozen=True)
class Round:
    """Real numbers, and the simulated ones by the stage times they were made from.

    ``disturbed`` is the share of the stages' time, alone and in the full pipeline, that their cores
    did not work for them: other programs had them. Of stages that sleep it is not known: 0.
    """

    full: Numbers
    fed: Numbers
    simulated_full: Mapping[str, Numbers]
    simulated_fed: Mapping[str, Numbers]
    stage_s: Mapping[str, tuple[float, ...]]
    disturbed: Mapping[str, float]


class Waiting:
    """A stage that works once, and then sleeps and hands out what it made."""

    def __init__(self, stage: StageEntry, folder: Path, cores: tuple[int, ...]) -> None:
        self._runner = find_loader(stage, {})(stage, folder, cores)
        self._outputs: list[Value] | None = None
        self._random = Random(stage.name)
        self._seconds = WAIT * stage.predicted_s

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of the first call, after a while."""
        if self._outputs is None:
            self._outputs = self._runner.run(inputs)
        time.sleep(self._seconds * self._random.lognormvariate(0.0, SPREAD))
        return self._outputs

    def close(self) -> None:
        """Close the stage's own runner."""
        self._runner.close()


def stage_rows(results: Sequence[FrameResult], manifest: Manifest) -> Rows:
    """Seconds of the stages in each frame, in the order of the plan."""
    return tuple(tuple(r.stage_seconds[s.name] for s in manifest.stages) for r in results)


def real(results: Sequence[FrameResult]) -> Numbers:
    ends = [result.finished_at for result in results]
    latency = LatencySummary.of([result.latency_s for result in results])
    return Numbers((max(ends) - min(ends)) / (len(ends) - 1), latency.p50_s, latency.p99_s)


def simulated(
    manifest: Manifest, rows: Rows, frames: int, depth: int, period: float | None
) -> Numbers:
    """The same run, simulated with these stage times."""
    engines = tuple(dict.fromkeys(stage.engine for stage in manifest.stages))
    maker = {spec.name: k for k, s in enumerate(manifest.stages) for spec in s.outputs}
    jobs = tuple(
        overlap.Job(
            engines.index(s.engine),
            median(row[k] for row in rows),
            0,
            tuple(sorted({maker[spec.name] for spec in s.inputs if spec.name in maker})),
        )
        for k, s in enumerate(manifest.stages)
    )
    stream = Stream(manifest.model, jobs, frames, period, depth=depth, samples=rows)
    (run,) = simulate([stream], engines).streams
    assert run.interval_s is not None
    assert run.latency is not None
    return Numbers(run.interval_s, run.latency.p50_s, run.latency.p99_s)


def paced(frames: Sequence[Frame], period: float) -> Iterator[Frame]:
    begin = time.perf_counter()
    for k, frame in enumerate(frames):
        time.sleep(max(0.0, begin + k * period - time.perf_counter()))
        yield frame


def streamed(
    pipeline: Pipeline, frames: Sequence[Frame], period: float | None
) -> list[FrameResult]:
    given = [*frames[:WARMUP], *frames]
    with closing(pipeline.stream(given if period is None else paced(given, period))) as results:
        return list(results)[WARMUP:]


def disturbed(rows: Rows, cpu: CpuTimes | None) -> float:
    """Share of the stages' time that their cores worked for something else."""
    if cpu is None:
        return 0.0
    passed = sum(map(sum, rows)) / len(rows)
    return max(0.0, 1 - sum(cpu.take(len(rows)).values()) / passed)


def measure(pipeline: Pipeline, cpu: CpuTimes | None, frames: Sequence[Frame]) -> Round:
    manifest = pipeline.bundle.manifest
    alone = []
    for frame in [*frames[:WARMUP], *frames]:
        with closing(pipeline.stream([frame])) as results:
            alone.append(next(results))
    rows = {"alone": stage_rows(alone[WARMUP:], manifest)}
    lost = {"alone": disturbed(rows["alone"], cpu)}
    full = streamed(pipeline, frames, None)
    rows["overlapped"] = stage_rows(full, manifest)
    lost["overlapped"] = disturbed(rows["overlapped"], cpu)
    period = SLACK * real(full).interval_s
    fed = streamed(pipeline, frames, period)
    many, depth = MANY * len(frames), pipeline.queue_depth
    return Round(
        real(full),
        real(fed),
        {name: simulated(manifest, found, many, depth, None) for name, found in rows.items()},
        {name: simulated(manifest, found, many, depth, period) for name, found in rows.items()},
        {
            name: tuple(median(row[k] for row in found) for k in range(len(manifest.stages)))
            for name, found in rows.items()
        },
        lost,
    )


def build(model: Path, board: Board, stages: int, folder: Path) -> Path:
    planned = plan_model(
        Job(model, board, Request(Objective.INTERVAL, max_stages=stages)), check=True
    )
    return build_bundle(planned, folder / f"{model.stem}.bundle").bundle


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def ratios(rounds: Sequence[Round]) -> dict[str, dict[str, dict[str, float]]]:
    """Simulated / real: by the stage times used, then by what is compared."""
    return {
        times: {
            f"{kind}, {name}": spread(
                [
                    asdict(getattr(r, f"simulated_{kind}")[times])[f"{name}_s"]
                    / asdict(getattr(r, kind))[f"{name}_s"]
                    for r in rounds
                ]
            )
            for kind, name in (
                ("full", "interval"),
                ("full", "p50"),
                ("full", "p99"),
                ("fed", "interval"),
                ("fed", "p50"),
                ("fed", "p99"),
            )
        }
        for times in TIMES
    }


def summarise(bundle: Bundle, rounds: Sequence[Round], frames: int, depth: int) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "model": manifest.model,
        "stages": [f"{s.engine}/{s.backend} ({len(s.cores)} core)" for s in manifest.stages],
        "frames": frames,
        "queue_depth": depth,
        "ratios": ratios(rounds),
        "rounds": [asdict(r) for r in rounds],
    }


def show(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['model']}: stages {', '.join(found['stages'])}"
    rounds = found["rounds"]
    for times in TIMES:
        columns = zip(*(r["stage_s"][times] for r in rounds), strict=True)
        shown = ", ".join(f"{median(column) * 1e3:.2f} ms" for column in columns)
        lost = median(r["disturbed"][times] for r in rounds)
        taken = f"; of it {lost:.0%} taken by other programs" if lost else ""
        yield f"  stages {times}, measured: {shown}{taken}"
    for kind in ("full", "fed"):
        shown = ", ".join(
            f"{name} {median(r[kind][f'{name}_s'] for r in rounds) * 1e3:.2f} ms"
            for name in ("interval", "p50", "p99")
        )
        yield f"  {kind} pipeline, measured: {shown}"
    yield f"  {'simulated / measured, with stage times:':44}{'alone':24}overlapped"
    for name in found["ratios"][TIMES[0]]:
        cells = (
            f"{v['median']:.3f} ({v['lowest']:.3f} … {v['highest']:.3f})"
            for v in (found["ratios"][times][name] for times in TIMES)
        )
        yield f"    {name:42}{next(cells):24}{next(cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--stages", type=int, default=2, help="most stages of a plan")
    parser.add_argument("--wait", action="store_true", help="stages sleep instead of working")
    parser.add_argument("--backend", help="plan with this backend alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    models = options.models or [*DEFAULT, *sorted(SHARED.glob("*.onnx"))]
    board = detect_host(open_cache())
    if len(board.engines) < 2 or any(len(engine.cores) > 1 for engine in board.engines):
        print("note: this machine does not split into two engines of one core", file=sys.stderr)
    if options.backend:
        engines = tuple(replace(e, backends=(options.backend,)) for e in board.engines)
        board = replace(board, engines=engines)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeweave-")))
        runs: list[tuple[Pipeline, CpuTimes | None, list[Frame], list[Round]]] = []
        for model in models:
            path = build(model, board, options.stages, folder)
            bundle = stack.enter_context(open_bundle(path))
            cpu = None if options.wait else CpuTimes()
            load: Loader = Waiting if cpu is None else cpu.load
            loaders = dict.fromkeys((s.kind for s in bundle.manifest.stages), load)
            pipeline = stack.enter_context(Pipeline(bundle, loaders=loaders))
            distinct = [random_inputs(bundle.manifest.inputs, seed, "unit") for seed in range(4)]
            frames: list[Frame] = [distinct[i % len(distinct)] for i in range(options.frames)]
            runs.append((pipeline, cpu, frames, []))
        for _ in range(options.rounds):
            for pipeline, cpu, frames, rounds in runs:
                rounds.append(measure(pipeline, cpu, frames))
        found = [
            summarise(pipeline.bundle, rounds, len(frames), pipeline.queue_depth)
            for pipeline, _, frames, rounds in runs
        ]
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{options.rounds} rounds of {options.frames} frames: median (lowest … highest)\n")
    for one in found:
        print("\n".join(show(one)), end="\n\n")


if __name__ == "__main__":
    main()
