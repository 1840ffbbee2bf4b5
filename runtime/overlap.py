"""What a pipeline gains by overlapping frames, and where the rest of the possible gain goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from edgeweave.runtime.cpu_times import CpuTimes
from edgeweave.runtime.cycle import Cycle, dissect
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.frames import FrameResult
from edgeweave.runtime.manifest import Manifest
from edgeweave.runtime.pipeline import Pipeline

Terms = Mapping[str, float]


@dataclass(frozen=True)
class Overlap:
    """The same frames one at a time and then overlapped, in seconds per frame.

    ``sequential_s`` is the time from frame to frame one at a time, and ``latency_s`` the median
    latency there. ``engine`` is the one whose stages take longest, ``engine_s`` the sums of stage
    medians per engine. The other mappings are means per engine: the time that passed, and (``cpu``)
    what its core worked.
    """

    engine: str
    sequential_s: float
    latency_s: float
    engine_s: Mapping[str, float]
    alone_s: Mapping[str, float]
    alone_cpu_s: Mapping[str, float]
    streaming_cpu_s: Mapping[str, float]
    cycle: Cycle

    @property
    def gain(self) -> float:
        """Pipelined / sequential throughput."""
        return self.sequential_s / self.cycle.interval_s

    @property
    def bound(self) -> float:
        """The gain if hand-overs were free and no engine slowed another: sum / longest engine."""
        return sum(self.engine_s.values()) / max(self.engine_s.values())

    def sequential_terms(self) -> Terms:
        """What ``sequential_s`` consists of."""
        worked, passed = sum(self.alone_cpu_s.values()), sum(self.alone_s.values())
        return {
            "stages, cores working": worked,
            "cores taken by other programs": passed - worked,
            "hand-over and caller": self.sequential_s - passed,
        }

    def interval_terms(self) -> Terms:
        """What the interval of the full pipeline consists of, on the longest engine."""
        alone, streaming = self.alone_cpu_s[self.engine], self.streaming_cpu_s[self.engine]
        return {
            "stages, core working, when alone": alone,
            "slower while both engines run": streaming - alone,
            "core taken by other programs": self.cycle.busy_s - streaming,
            "no stage ready (imbalance)": self.cycle.starved_s,
            "hand-over": self.cycle.hand_over_s,
        }


def measure_overlap(
    pipeline: Pipeline, frames: Sequence[Mapping[str, Any]], cpu: CpuTimes
) -> Overlap:
    """Run the frames one at a time, then overlapped; before each, the first one runs untimed.

    ``cpu`` must be what the pipeline's runners were loaded by. Raises RuntimeFault for fewer than
    two frames, and StageFailure when a stage fails.
    """
    if len(frames) < 2:
        raise RuntimeFault("overlap", f"{len(frames)} frames cannot overlap", "Give 2 or more")
    manifest = pipeline.bundle.manifest
    pipeline.run(frames[0])
    begin = time.perf_counter()
    alone = [_run(pipeline, frame) for frame in frames]
    sequential_s = (time.perf_counter() - begin) / len(frames)
    alone_cpu = cpu.take(len(frames))
    with closing(pipeline.stream([frames[0], *frames])) as results:
        streamed = list(results)[1:]
    engine_s = _per_engine(manifest, _by_stage(alone, median))
    engine = max(engine_s, key=engine_s.__getitem__)
    return Overlap(
        engine,
        sequential_s,
        median(result.latency_s for result in alone),
        engine_s,
        _per_engine(manifest, _by_stage(alone, mean)),
        _per_engine(manifest, alone_cpu),
        _per_engine(manifest, cpu.take(len(frames))),
        dissect(streamed, manifest, engine),
    )


def _run(pipeline: Pipeline, frame: Mapping[str, Any]) -> FrameResult:
    pipeline.submit(frame)
    result = pipeline.result()
    if result.failure is not None:
        raise result.failure
    return result


def _by_stage(
    results: Sequence[FrameResult], average: Callable[[list[float]], float]
) -> dict[str, float]:
    return {name: average([r.stage_seconds[name] for r in results]) for name in results[0].spans}


def _per_engine(manifest: Manifest, seconds: Mapping[str, float]) -> dict[str, float]:
    """Sums over the stages of each engine."""
    found = dict.fromkeys((stage.engine for stage in manifest.stages), 0.0)
    for stage in manifest.stages:
        found[stage.engine] += seconds[stage.name]
    return found
