"""Timing a pipeline: latency of single frames, then the interval of a full pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from statistics import median
from typing import Any

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.frames import FrameResult
from edgeweave.runtime.pipeline import Pipeline


@dataclass(frozen=True)
class LatencySummary:
    """Percentiles of ``count`` latencies, in seconds.

    A percentile p is the nearest-rank one: the smallest of the measured values that at least p
    percent of them do not exceed. With fewer than 100 values p99 is therefore their maximum.
    """

    count: int
    p50_s: float
    p90_s: float
    p99_s: float
    p999_s: float
    max_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> LatencySummary:
        """The summary of one or more latencies."""
        p50, p90, p99, p999 = (percentile(seconds, p) for p in (50, 90, 99, 99.9))
        return cls(len(seconds), p50, p90, p99, p999, max(seconds))


@dataclass(frozen=True)
class Measurement:
    """Times of one pipeline on one machine; all in seconds.

    ``word`` says what they are: measured, emulated or reference. ``latency`` is of frames that ran
    alone. ``interval_s`` is the time from the first finished frame of a full pipeline to the last,
    over their number minus one, and ``busy`` the share of that time that each engine ran stages.
    ``stage_s`` is the median time of each stage in a frame that ran alone, and
    ``stage_streaming_s`` in the full pipeline. ``misses`` counts the frames that ran alone and took
    longer than the bundle's budget; None when it has none.
    """

    word: str
    frames: int
    warmup: int
    latency: LatencySummary
    interval_s: float
    busy: Mapping[str, float]
    stage_s: Mapping[str, float]
    stage_streaming_s: Mapping[str, float]
    misses: int | None


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile (0 < percent <= 100) of one or more values."""
    # rounded first, so that 99.9 percent of 1000 is 999 and not the next number above it
    rank = math.ceil(round(percent * len(values) / 100, 9))
    return sorted(values)[max(0, rank - 1)]


def measure(
    pipeline: Pipeline, frames: Sequence[Mapping[str, Any]], warmup: int = 1
) -> Measurement:
    """Run all frames one by one, then all of them overlapped; times of both.

    Before each of the two, ``warmup`` frames run untimed (the given ones, over again). At least two
    frames are needed; raises RuntimeFault otherwise, and StageFailure when a stage fails.
    """
    if len(frames) < 2:
        raise RuntimeFault("measurement", f"has {len(frames)} frames", "Give 2 or more")
    if warmup < 0:
        raise RuntimeFault("measurement", f"has {warmup} warm-up frames", "Give 0 or more")
    first = [frames[i % len(frames)] for i in range(warmup)]
    alone = [_run_alone(pipeline, frame) for frame in chain(first, frames)][warmup:]
    with closing(pipeline.stream(chain(first, frames))) as results:
        streamed = [_without_outputs(result) for result in islice(results, warmup, None)]
    ends = [result.finished_at for result in streamed]
    window = (min(ends), max(ends))
    return Measurement(
        word=pipeline.word,
        frames=len(frames),
        warmup=warmup,
        latency=LatencySummary.of([result.latency_s for result in alone]),
        interval_s=(window[1] - window[0]) / (len(ends) - 1),
        busy=_busy(pipeline, streamed, window),
        stage_s=_stage_medians(pipeline, alone),
        stage_streaming_s=_stage_medians(pipeline, streamed),
        misses=_misses(alone, pipeline.bundle.manifest.budget_s),
    )


def _misses(results: Sequence[FrameResult], budget_s: float | None) -> int | None:
    return None if budget_s is None else sum(r.latency_s > budget_s for r in results)


def _run_alone(pipeline: Pipeline, frame: Mapping[str, Any]) -> FrameResult:
    with closing(pipeline.stream([frame])) as results:
        return _without_outputs(next(results))


def _without_outputs(result: FrameResult) -> FrameResult:
    """Times only, so that a long run does not keep every output."""
    return FrameResult(
        result.frame, {}, result.latency_s, result.spans, result.finished_at, result.failure
    )


def _busy(
    pipeline: Pipeline, results: Sequence[FrameResult], window: tuple[float, float]
) -> dict[str, float]:
    """Share of the window that each engine ran stages of these frames."""
    engine_of = {stage.name: stage.engine for stage in pipeline.bundle.manifest.stages}
    seconds = dict.fromkeys(pipeline.engines, 0.0)
    for result in results:
        for stage, (start, end) in result.spans.items():
            inside = min(end, window[1]) - max(start, window[0])
            seconds[engine_of[stage]] += max(0.0, inside)
    length = window[1] - window[0]
    return {engine: total / length if length > 0 else 0.0 for engine, total in seconds.items()}


def _stage_medians(pipeline: Pipeline, results: Sequence[FrameResult]) -> dict[str, float]:
    return {
        stage.name: median(result.stage_seconds[stage.name] for result in results)
        for stage in pipeline.bundle.manifest.stages
    }
