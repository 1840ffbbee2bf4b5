"""How much two engines of this machine overlap: a plan pipelined and one frame at a time.

Prints pipelined / sequential throughput, the most that the longest engine allows, and measured
terms for the rest; beside them ONNX Runtime on the whole model. The phases of a round follow each
other, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import onnx

from edgeweave.compiler.pipeline import Compiled, Job, build_bundle, plan_model
from edgeweave.compiler.sampling import random_inputs
from edgeweave.partition.plan import Objective, Request
from edgeweave.runtime.bundle import Bundle, open_bundle
from edgeweave.runtime.cpu_times import CpuTimes
from edgeweave.runtime.overlap import Overlap, measure_overlap
from edgeweave.runtime.pipeline import Pipeline
from edgeweave.targets.cache import open_cache
from edgeweave.targets.host import detect_host

LIGHT = Path(onnx.__path__[0]) / "backend/test/data/light"
THREADS = (1, 2)  # of ONNX Runtime on the whole model
Frame = Mapping[str, Any]


@dataclass(frozen=True)
class Round:
    """The pipeline, and ONNX Runtime's seconds per frame by number of threads."""

    overlap: Overlap
    onnxruntime: Mapping[int, float]


def open_peer(bundle: Bundle, threads: int) -> Callable[[Frame], Any]:
    """ONNX Runtime on the original model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(bundle.reference), options, providers=["CPUExecutionProvider"]
    )
    return lambda frame: session.run(None, dict(frame))


def time_peer(run: Callable[[Frame], Any], frames: Sequence[Frame]) -> float:
    run(frames[0])
    begin = time.perf_counter()
    for frame in frames:
        run(frame)
    return (time.perf_counter() - begin) / len(frames)


def measure(bundle: Bundle, frames: Sequence[Frame], rounds: int) -> Iterator[Round]:
    cpu = CpuTimes()
    kinds = {stage.kind for stage in bundle.manifest.stages}
    peers = {threads: open_peer(bundle, threads) for threads in THREADS}
    with Pipeline(bundle, loaders=dict.fromkeys(kinds, cpu.load)) as pipeline:
        for _ in range(rounds):
            overlap = measure_overlap(pipeline, frames, cpu)
            yield Round(overlap, {t: time_peer(run, frames) for t, run in peers.items()})


def spread(values: Sequence[float], unit: float = 1.0) -> dict[str, float]:
    found = {"median": median(values), "lowest": min(values), "highest": max(values)}
    return {name: value * unit for name, value in found.items()}


def summarise(compiled: Compiled, bundle: Bundle, rounds: Sequence[Round]) -> dict[str, Any]:
    """What is printed; times in ms, ratios above 1 are in favour of the pipeline."""
    manifest = bundle.manifest
    overlaps = [r.overlap for r in rounds]
    chosen = sorted(overlaps, key=lambda o: o.gain)[len(overlaps) // 2]
    intervals = [o.cycle.interval_s for o in overlaps]
    groups = {
        "one frame at a time": chosen.sequential_terms(),
        f"pipelined, on {chosen.engine}": chosen.interval_terms(),
    }
    return {
        "model": manifest.model,
        "regions": len(compiled.planned.regions.graph.regions),
        "stages": [f"{s.engine}/{s.backend}" for s in manifest.stages],
        "gain": spread([o.gain for o in overlaps]),
        "bound": spread([o.bound for o in overlaps]),
        "onnxruntime": {
            str(t): spread([r.onnxruntime[t] / r.overlap.cycle.interval_s for r in rounds])
            for t in THREADS
        },
        "latency_ms": {"predicted": manifest.predicted_latency_s * 1e3}
        | spread([o.latency_s for o in overlaps], 1e3),
        "interval_ms": {"predicted": manifest.predicted_interval_s * 1e3} | spread(intervals, 1e3),
        "terms_ms": {
            group: {name: seconds * 1e3 for name, seconds in parts.items()}
            for group, parts in groups.items()
        },
        "rounds": [asdict(r) for r in rounds],
    }


def show(found: Mapping[str, Any]) -> Iterator[str]:
    def told(values: Mapping[str, float]) -> str:
        return f"{values['median']:7.2f}   ({values['lowest']:.2f} … {values['highest']:.2f})"

    yield f"{found['model']}: {found['regions']} regions, stages {', '.join(found['stages'])}"
    yield f"{len(found['rounds'])} rounds: median   (lowest … highest)\n"
    yield f"{'pipelined / sequential throughput':44}{told(found['gain'])}"
    yield f"{'bound: all stages / longest engine':44}{told(found['bound'])}"
    for threads, values in found["onnxruntime"].items():
        yield f"{f'pipelined / ONNX Runtime with {threads} thread(s)':44}{told(values)}"
    for name in ("latency_ms", "interval_ms"):
        values = found[name]
        yield f"{name[:-3] + ', measured, ms':44}{told(values)}"
        yield f"{name[:-3] + ', predicted, ms':44}{values['predicted']:7.2f}"
    for group, parts in found["terms_ms"].items():
        yield f"\n{group}: measured ms per frame, in the round with the median gain"
        for name, value in (*parts.items(), ("together", sum(parts.values()))):
            yield f"  {name:42}{value:7.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=LIGHT / "light_squeezenet.onnx")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stages", type=int, default=2, help="most stages of the plan")
    parser.add_argument("--backend", help="plan with this backend alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    host = detect_host(open_cache())
    if options.backend:
        engines = tuple(replace(e, backends=(options.backend,)) for e in host.engines)
        host = replace(host, engines=engines)
    request = Request(Objective.INTERVAL, max_stages=options.stages)
    planned = plan_model(Job(options.model, host, request), check=True)
    if len({stage.slot.engine for stage in planned.plan.stages}) < 2:
        sys.exit(f"{options.model}: its best plan uses one engine, so nothing overlaps")
    with tempfile.TemporaryDirectory(prefix="edgeweave-") as folder:
        compiled = build_bundle(planned, Path(folder) / "bench.bundle")
        with open_bundle(compiled.bundle) as bundle:
            inputs = bundle.manifest.inputs
            frames = [random_inputs(inputs, seed, "unit") for seed in range(options.frames)]
            found = summarise(compiled, bundle, list(measure(bundle, frames, options.rounds)))
    print(json.dumps(found, indent=1) if options.json else "\n".join(show(found)))


if __name__ == "__main__":
    main()
