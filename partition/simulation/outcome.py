"""What a simulated run amounts to: latencies, misses, intervals, and what limits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from edgeweave.partition.simulation.stream import Stream

if TYPE_CHECKING:
    from edgeweave.runtime.measure import LatencySummary

# Relative difference below which a frame still meets its deadline: rounding of a long clock.
_TOLERANCE = 1e-9
_FILL = 4  # times the queue depth: frames that a pipeline may take until it runs steadily


@dataclass
class Times:
    """What became of one stream: a figure per delivered frame, and seconds per stage.

    ``stage_s`` is what each stage ran for, ``alone_s`` what that would have taken undisturbed.
    """

    stage_s: list[float]
    alone_s: list[float]
    arrived: list[float] = field(default_factory=list)
    admitted: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    dropped: int = 0
    most_in_flight: int = 0


@dataclass(frozen=True)
class StageUse:
    """Share of the whole run that a stage kept its engine busy, and how much slower than alone."""

    stage: int
    engine: str
    busy: float
    slowdown: float


@dataclass(frozen=True)
class StreamRun:
    """One stream's simulated numbers; all times in seconds.

    ``latency`` runs from a frame's admission to the end of its last stage, as the runtime states
    it; ``response`` from its arrival until its result is handed over, in order. ``misses`` counts
    the delivered frames whose response exceeds the deadline (None: there is none); dropped frames
    are counted apart. ``interval_s`` is the time from the first frame to the last that left in the
    steady part of the run, over their number minus one, and ``gap_s`` the median time between two;
    None with fewer than two. ``held`` counts frames that waited for room. ``response_s`` are the
    responses in order.
    """

    name: str
    frames: int
    delivered: int
    dropped: int
    held: int
    most_in_flight: int
    latency: LatencySummary | None
    response: LatencySummary | None
    misses: int | None
    interval_s: float | None
    gap_s: float | None
    stages: tuple[StageUse, ...]
    response_s: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class Simulation:
    """A simulated run: its streams, and the board they shared.

    ``busy`` is the share of ``elapsed_s``, from the first admission to the last end, that each
    engine ran stages. ``engine`` is the busiest, and ``stage`` the stream and the index of the
    stage that keeps it busy longest: what limits the interval of a pipeline that is never short of
    frames. ``memory`` is the share of the memory's bandwidth in use; None when that is not known.
    """

    streams: tuple[StreamRun, ...]
    elapsed_s: float
    busy: dict[str, float]
    engine: str
    stage: tuple[str, int]
    memory: float | None


def summarise(
    streams: Sequence[Stream],
    engines: Sequence[str],
    times: Sequence[Times],
    moved: float,
    bytes_per_s: float,
) -> Simulation:
    """The numbers of a run in which ``moved`` bytes went through the shared memory."""
    first = min(t.admitted[0] for t in times if t.admitted)
    elapsed = max(t.delivered[-1] for t in times if t.delivered) - first
    seconds = dict.fromkeys(engines, 0.0)
    spent: dict[tuple[str, int], float] = {}
    for stream, own in zip(streams, times, strict=True):
        for k, (job, worked) in enumerate(zip(stream.jobs, own.stage_s, strict=True)):
            seconds[engines[job.engine]] += worked
            spent[stream.name, k] = worked
    used = dict.fromkeys(engines[job.engine] for stream in streams for job in stream.jobs)
    engine = max(used, key=seconds.__getitem__)
    stage = max(
        (
            (stream.name, k)
            for stream in streams
            for k, job in enumerate(stream.jobs)
            if engines[job.engine] == engine
        ),
        key=spent.__getitem__,
    )
    return Simulation(
        streams=tuple(
            _stream_run(stream, engines, own, elapsed)
            for stream, own in zip(streams, times, strict=True)
        ),
        elapsed_s=elapsed,
        busy={name: _share(worked, elapsed) for name, worked in seconds.items()},
        engine=engine,
        stage=stage,
        memory=_share(moved / bytes_per_s, elapsed) if bytes_per_s > 0 else None,
    )


def _stream_run(stream: Stream, engines: Sequence[str], times: Times, elapsed: float) -> StreamRun:
    latency = [end - start for start, end in zip(times.admitted, times.finished, strict=True)]
    response = [end - start for start, end in zip(times.arrived, times.delivered, strict=True)]
    deadline = stream.deadline_s
    steady = _steady(times.delivered, stream.room)
    gaps = [b - a for a, b in pairwise(steady)]
    return StreamRun(
        name=stream.name,
        frames=stream.frames,
        delivered=len(response),
        dropped=times.dropped,
        held=sum(a > b for a, b in zip(times.admitted, times.arrived, strict=True)),
        most_in_flight=times.most_in_flight,
        latency=_percentiles(latency),
        response=_percentiles(response),
        misses=None
        if deadline is None
        else sum(seconds > deadline * (1 + _TOLERANCE) for seconds in response),
        interval_s=(steady[-1] - steady[0]) / len(gaps) if gaps else None,
        gap_s=median(gaps) if gaps else None,
        stages=tuple(
            StageUse(k, engines[job.engine], _share(worked, elapsed), _times(worked, alone))
            for k, (job, worked, alone) in enumerate(
                zip(stream.jobs, times.stage_s, times.alone_s, strict=True)
            )
        ),
        response_s=tuple(response),
    )


def _steady(left: Sequence[float], room: int) -> Sequence[float]:
    """Those that left neither while the pipeline filled nor while it ran empty."""
    count = len(left)
    return left[min(count // 2, _FILL * room) : count - min(count // 4, room)]


def _percentiles(seconds: Sequence[float]) -> LatencySummary | None:
    # The runtime's own definition, which comes with all that a run needs.
    from edgeweave.runtime.measure import LatencySummary

    return LatencySummary.of(seconds) if seconds else None


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _times(worked: float, alone: float) -> float:
    return worked / alone if alone > 0 else 1.0
