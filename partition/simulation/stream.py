"""What a simulation is fed with: frames that arrive at the stages of one plan."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from edgeweave.partition.contention import INFINITY
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.overlap import Job


class JitterLaw(StrEnum):
    """How arrivals scatter: evenly within the jitter, or with it as standard deviation."""

    UNIFORM = "uniform"
    NORMAL = "normal"


@dataclass(frozen=True)
class Stream:
    """Frames of one plan on their way through its stages; all times in seconds.

    ``jobs`` are its stages in order. Frame k arrives at ``offset_s + k * period_s``, moved by at
    most ``jitter_s`` either way (uniform) or with that standard deviation (normal), and never
    before the frame ahead of it. Without a period a frame arrives whenever there is room.

    At most ``depth`` frames are in flight; the default is one more than the engines it uses, as in
    the runtime. A frame that finds no room waits, and those behind it wait too; with ``drop`` it is
    dropped. ``deadline_s`` counts from the arrival. Of the stages that are ready an engine runs
    that of the highest ``priority``, then of the frame that arrived first.

    A stage takes its job's seconds; with ``spread`` times a random factor of mean 1 and that
    relative standard deviation (lognormal). ``samples`` are measured seconds instead: a row per
    frame, a figure per stage; every frame draws one row. Raises PartitionError for what cannot be.
    """

    name: str
    jobs: tuple[Job, ...]
    frames: int
    period_s: float | None = None
    offset_s: float = 0.0
    jitter_s: float = 0.0
    jitter_law: JitterLaw = JitterLaw.UNIFORM
    depth: int | None = None
    drop: bool = False
    deadline_s: float | None = None
    priority: int = 0
    spread: float = 0.0
    samples: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.jobs or self.frames < 1:
            raise self._fault(f"has {len(self.jobs)} stages and {self.frames} frames")
        for k, job in enumerate(self.jobs):
            if not all(0 <= before < k for before in job.after):
                raise self._fault(f"stage {k} reads from stages {list(job.after)}")
            if not 0 <= job.seconds < INFINITY or not 0 <= job.nbytes < INFINITY or job.engine < 0:
                raise self._fault(f"stage {k} cannot run: {job}")
        for what, seconds in (("period", self.period_s), ("deadline", self.deadline_s)):
            if seconds is not None and not 0 < seconds < INFINITY:
                raise self._fault(f"its {what} of {seconds} s is not a positive duration")
        for what, figure in (
            ("offset", self.offset_s),
            ("jitter", self.jitter_s),
            ("spread", self.spread),
        ):
            if not 0 <= figure < INFINITY:
                raise self._fault(f"its {what} of {figure} is not a number of 0 or more")
        if self.depth is not None and self.depth < 1:
            raise self._fault(f"a queue depth of {self.depth} lets no frame in")
        if self.period_s is None and (self.drop or self.jitter_s > 0):
            raise self._fault("only frames that arrive with a period can jitter or be dropped")
        if any(len(row) != len(self.jobs) for row in self.samples):
            raise self._fault(f"a sample does not hold {len(self.jobs)} stages")
        if not all(0 <= seconds < INFINITY for row in self.samples for seconds in row):
            raise self._fault("a sample is not a duration")
        if self.samples and self.spread > 0:
            raise self._fault("measured samples have their own spread", "Leave out the spread")

    def _fault(self, reason: str, next_step: str = "") -> PartitionError:
        return PartitionError(f"stream {self.name}", reason, next_step)

    @property
    def room(self) -> int:
        """The most frames in flight."""
        engines = {job.engine for job in self.jobs}
        return len(engines) + 1 if self.depth is None else self.depth

    def arrivals(self, random: Random) -> Iterator[float]:
        """When each frame arrives, in order; minus infinity without a period."""
        last = 0.0
        for k in range(self.frames):
            if self.period_s is None:
                yield -INFINITY
                continue
            due = self.offset_s + k * self.period_s
            if self.jitter_s > 0 and self.jitter_law is JitterLaw.UNIFORM:
                due += random.uniform(-self.jitter_s, self.jitter_s)
            elif self.jitter_s > 0:
                due += random.gauss(0.0, self.jitter_s)
            last = max(last, due)
            yield last

    def services(self, random: Random) -> Iterator[tuple[float, ...]]:
        """What the stages of one frame after another take when nothing slows them."""
        planned = tuple(job.seconds for job in self.jobs)
        # of a lognormal factor with mean 1
        sigma = math.sqrt(math.log1p(self.spread**2))
        mu = -(sigma**2) / 2
        while True:
            if self.samples:
                yield random.choice(self.samples)
            elif sigma > 0:
                yield tuple(s * math.exp(random.gauss(mu, sigma)) for s in planned)
            else:
                yield planned
