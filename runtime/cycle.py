"""Where the time of an engine goes while a pipeline is full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.frames import FrameResult
from edgeweave.runtime.manifest import Manifest


@dataclass(frozen=True)
class Cycle:
    """One engine's share of each frame's interval, in seconds; the parts add up to ``interval_s``.

    ``starved_s`` is the time in which no stage was ready to run, ``hand_over_s`` that in which one
    was and had not started.
    """

    interval_s: float
    busy_s: float
    starved_s: float
    hand_over_s: float


def dissect(results: Sequence[FrameResult], manifest: Manifest, engine: str) -> Cycle:
    """Split the time between the first and the last finished frame of a stream on one engine.

    A stage is ready when the last of its inputs is there. Raises RuntimeFault for fewer than two
    frames.
    """
    if len(results) < 2:
        raise RuntimeFault("cycle", f"{len(results)} frames have no interval", "Give 2 or more")
    ends = [result.finished_at for result in results]
    low, high = min(ends), max(ends)
    busy = starved = hand_over = 0.0
    now = low
    for start, end, ready in [*sorted(_spans(results, manifest, engine)), (high, high, high)]:
        begin = min(max(start, now), high)
        waited = min(max(ready, now), begin) - now
        starved += waited
        hand_over += begin - now - waited
        now = min(max(end, begin), high)
        busy += now - begin
    n = len(results) - 1
    return Cycle((high - low) / n, busy / n, starved / n, hand_over / n)


def _spans(
    results: Sequence[FrameResult], manifest: Manifest, engine: str
) -> list[tuple[float, float, float]]:
    """Start, end and readiness of every run of the engine's stages."""
    producer = {spec.name: stage.name for stage in manifest.stages for spec in stage.outputs}
    spans = []
    for result in results:
        admitted = result.finished_at - result.latency_s
        for stage in manifest.stages:
            if stage.engine == engine:
                sources = {producer[s.name] for s in stage.inputs if s.name in producer}
                ready = max([admitted, *(result.spans[source][1] for source in sources)])
                spans.append((*result.spans[stage.name], ready))
    return spans
