"""A discrete-event run of plans on one board, by the rules of the runtime.

Every engine runs one stage at a time and finishes what it began. It takes the stage that is ready
and of the highest priority, then of the frame that arrived first, then of the lowest index. A frame
counts as in flight until it and all frames before it have ended. docs/simulator.md says more.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from edgeweave.partition.contention import INFINITY, Contention
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.simulation.outcome import Simulation, Times, summarise
from edgeweave.partition.simulation.stream import Stream


def simulate(
    streams: Sequence[Stream],
    engines: Sequence[str],
    contention: Contention | None = None,
    bytes_per_s: float = 0.0,
    seed: int = 0,
) -> Simulation:
    """Run the frames of all streams on the engines and sum up what happened.

    A job's ``engine`` is an index into ``engines``. Stages that run at the same time slow each
    other down by ``contention`` (None: not at all). ``bytes_per_s`` is the bandwidth that the use
    of the shared memory is stated against; 0 when it is not known. Equal arguments give equal
    results. Raises PartitionError when there is nothing to run or no such engine.
    """
    if not streams:
        raise PartitionError("simulation", "it has no stream", "Give a plan")
    if len({stream.name for stream in streams}) < len(streams):
        raise PartitionError("simulation", "two streams have one name", "Give each its own")
    for stream in streams:
        for k, job in enumerate(stream.jobs):
            if job.engine >= len(engines):
                raise PartitionError(
                    f"stream {stream.name}",
                    f"stage {k} is on engine {job.engine} of {len(engines)}",
                )
    run = _Run(streams, len(engines), contention, seed)
    run.to_the_end()
    return summarise(streams, engines, [s.times for s in run.sources], run.moved, bytes_per_s)


@dataclass(slots=True)
class _Frame:
    """A frame in flight: how many results each stage still waits for, and its stages' seconds."""

    number: int
    arrived: float
    admitted: float
    seconds: tuple[float, ...]
    missing: list[int]
    left: int
    finished: float = INFINITY


class _Source:
    """The frames of one stream before, in and after the pipeline."""

    def __init__(self, stream: Stream, seed: int) -> None:
        self.stream = stream
        self.room = stream.room
        # Of their own, so that a change of one leaves the draws of the other as they were.
        self.arrivals = stream.arrivals(Random(f"{seed}/{stream.name}/arrivals"))
        self.services = stream.services(Random(f"{seed}/{stream.name}/services"))
        self.next_arrival: float | None = next(self.arrivals)
        self.number = 0
        self.flight: deque[_Frame] = deque()
        self.missing = [len(job.after) for job in stream.jobs]
        self.readers: list[list[int]] = [[] for _ in stream.jobs]
        for k, job in enumerate(stream.jobs):
            for before in job.after:
                self.readers[before].append(k)
        self.times = Times(stage_s=[0.0] * len(stream.jobs), alone_s=[0.0] * len(stream.jobs))

    def admit(self, now: float) -> Iterator[_Frame]:
        """The frames that have arrived and find room; those that are dropped pass."""
        while self.next_arrival is not None and self.next_arrival <= now:
            if len(self.flight) < self.room:
                arrived = now if self.next_arrival == -INFINITY else self.next_arrival
                count = len(self.missing)
                frame = _Frame(
                    self.number, arrived, now, next(self.services), self.missing.copy(), count
                )
                self.flight.append(frame)
                self.times.most_in_flight = max(self.times.most_in_flight, len(self.flight))
                yield frame
            elif self.stream.drop:
                self.times.dropped += 1
            else:
                return
            self.number += 1
            self.next_arrival = next(self.arrivals, None)

    @property
    def due(self) -> float:
        """When the next frame arrives; infinite when there is none, or it waits for room."""
        arrival = self.next_arrival
        blocked = len(self.flight) >= self.room and not self.stream.drop
        return INFINITY if arrival is None or blocked else arrival

    def deliver(self, now: float) -> None:
        """Take the frames that have ended, in order."""
        while self.flight and self.flight[0].left == 0:
            frame = self.flight.popleft()
            times = self.times
            times.arrived.append(frame.arrived)
            times.admitted.append(frame.admitted)
            times.finished.append(frame.finished)
            times.delivered.append(now)


@dataclass(slots=True)
class _Engine:
    """What an engine runs, and what waits for it, first the one it takes next.

    ``left`` is the work that remains at ``pace`` seconds of it per second; ``until`` its end.
    """

    ready: list[tuple[int, float, int, int, int, _Frame]] = field(default_factory=list)
    stream: int = 0
    stage: int = 0
    frame: _Frame | None = None
    since: float = 0.0
    left: float = 0.0
    demand: float = 0.0
    pace: float = 1.0


class _Run:
    """The state of the board at one moment, and its way from event to event."""

    def __init__(
        self, streams: Sequence[Stream], engines: int, contention: Contention | None, seed: int
    ) -> None:
        self.sources = [_Source(stream, seed) for stream in streams]
        self.moved = 0
        self._contention = contention
        self._engines = [_Engine() for _ in range(engines)]
        self._until = [INFINITY] * engines
        self._due = [source.due for source in self.sources]
        self._now = 0.0

    def to_the_end(self) -> None:
        """Go from event to event until nothing is left to do.

        All that ends or arrives at one moment is seen before any engine takes its next stage.
        """
        while (then := min(min(self._until), min(self._due))) < INFINITY:
            # a source without a period is due at once
            then = max(then, self._now)
            changed = False
            if self._contention is not None:
                self._work(then - self._now)
            self._now = then
            for e, until in enumerate(self._until):
                if until <= then:
                    self._end(e)
                    changed = True
            for s, due in enumerate(self._due):
                if due <= then:
                    self._admit(s)
            for e, engine in enumerate(self._engines):
                if engine.frame is None and engine.ready:
                    self._begin(e)
                    changed = True
            if changed and self._contention is not None:
                self._set_paces(self._contention)

    def _admit(self, s: int) -> None:
        source = self.sources[s]
        for frame in source.admit(self._now):
            for k, missing in enumerate(source.missing):
                if missing == 0:
                    self._enqueue(s, frame, k)
        self._due[s] = source.due

    def _enqueue(self, s: int, frame: _Frame, k: int) -> None:
        stream = self.sources[s].stream
        place = (-stream.priority, frame.arrived, s, frame.number, k, frame)
        heapq.heappush(self._engines[stream.jobs[k].engine].ready, place)

    def _begin(self, e: int) -> None:
        engine = self._engines[e]
        _, _, engine.stream, _, engine.stage, frame = heapq.heappop(engine.ready)
        job = self.sources[engine.stream].stream.jobs[engine.stage]
        seconds = frame.seconds[engine.stage]
        engine.frame, engine.since, engine.left = frame, self._now, seconds
        engine.demand = job.nbytes / seconds if seconds > 0 else 0.0
        self._until[e] = self._now + seconds

    def _end(self, e: int) -> None:
        engine, self._until[e] = self._engines[e], INFINITY
        frame, k, source = engine.frame, engine.stage, self.sources[engine.stream]
        assert frame is not None  # an engine with an end runs a frame
        engine.frame = None
        source.times.stage_s[k] += self._now - engine.since
        source.times.alone_s[k] += frame.seconds[k]
        self.moved += source.stream.jobs[k].nbytes
        for reader in source.readers[k]:
            frame.missing[reader] -= 1
            if frame.missing[reader] == 0:
                self._enqueue(engine.stream, frame, reader)
        frame.left -= 1
        if frame.left == 0:
            frame.finished = self._now
            source.deliver(self._now)
            self._due[engine.stream] = source.due

    def _work(self, elapsed: float) -> None:
        for engine in self._engines:
            if engine.frame is not None:
                engine.left = max(0.0, engine.left - elapsed * engine.pace)

    def _set_paces(self, contention: Contention) -> None:
        """Set how fast the stages that run now get on beside each other, and when they end."""
        busy = [(e, engine) for e, engine in enumerate(self._engines) if engine.frame is not None]
        paces = contention.paces([engine.demand for _, engine in busy])
        for (e, engine), pace in zip(busy, paces, strict=True):
            engine.pace = pace
            self._until[e] = self._now + engine.left / pace
