"""How long a frame may take at most when several models share the engines of a board.

Engines run one stage at a time and finish what they began; a model has one priority on all of them.
The bound follows what is known for non-preemptive fixed priorities (R. I. Davis, A. Burns, R. J.
Bril, J. J. Lukkien, "Controller Area Network (CAN) schedulability analysis: refuted, revisited and
revised", Real-Time Systems 35, 2007) and for work that passes from one processor to the next (K.
Tindell, J. Clark, "Holistic schedulability analysis for distributed hard real-time systems",
Microprocessing and Microprogramming 40, 1994). docs/several-models.md derives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from edgeweave.partition.contention import Contention
from edgeweave.partition.overlap import Job

INFINITY = float("inf")

_CAREFUL = 1 + 1e-9
"""Frames are counted with this factor, so that no rounding leaves out one at the border."""

_GIVE_UP = 20
"""A response that exceeds all periods and all work so many times over counts as unbounded."""


@dataclass(frozen=True)
class Flow:
    """Frames of one model on their way through the stages of its plan.

    ``jobs`` are the stages in order. ``period_s`` is the least time between two frames; None: a
    frame starts when the one before it has ended. ``alone_s`` is what a frame takes that meets
    nothing else on the board.
    """

    jobs: tuple[Job, ...]
    period_s: float | None
    alone_s: float

    @cached_property
    def engines(self) -> frozenset[int]:
        """The engines it uses."""
        return frozenset(job.engine for job in self.jobs)

    @cached_property
    def starts(self) -> tuple[float, ...]:
        """When each stage starts at the earliest, in seconds after the frame's arrival."""
        starts: list[float] = []
        for job in self.jobs:
            starts.append(max((starts[i] + self.jobs[i].seconds for i in job.after), default=0.0))
        return tuple(starts)

    @cached_property
    def spacing_s(self) -> float:
        """The least time between two frames, also where one waits for the other."""
        if self.period_s is not None:
            return self.period_s
        pairs = zip(self.starts, self.jobs, strict=True)
        return max(start + job.seconds for start, job in pairs)

    @cached_property
    def before(self) -> tuple[frozenset[int], ...]:
        """For each stage, those that must have ended when it starts."""
        before: list[frozenset[int]] = []
        for job in self.jobs:
            before.append(frozenset(job.after).union(*(before[i] for i in job.after)))
        return tuple(before)

    @cached_property
    def demand(self) -> dict[int, float]:
        """The most bytes per second that a stage draws, by engine."""
        most: dict[int, float] = {}
        for job in self.jobs:
            most[job.engine] = max(most.get(job.engine, 0.0), job.demand)
        return most


def response_times(flows: Sequence[Flow], contention: Contention | None = None) -> list[float]:
    """A bound on each flow's response, from a frame's arrival to its end; infinite where none.

    ``flows`` come in the order of their priorities, the highest first. A flow's bound grows with
    every flow that is added, wherever it is added; but what counts as unbounded (``give_up_s``)
    does too.
    """
    slowed = _slowed(flows, contention)
    ends: list[tuple[float, ...]] = []
    responses = []
    for m, flow in enumerate(flows):
        board = _Neighbours(flows, slowed, ends, m)
        found = _ends(board)
        response = max(found)
        if flow.alone_s < response and _is_undisturbed(flows, contention, m):
            response = flow.alone_s
        ends.append(found)
        responses.append(response)
    return responses


def give_up_s(flows: Sequence[Flow], contention: Contention | None = None) -> float:
    """A response above this is not looked for, and counts as infinite."""
    return _enough(flows, _slowed(flows, contention))


def _enough(flows: Sequence[Flow], slowed: Sequence[tuple[float, ...]]) -> float:
    return _GIVE_UP * (sum(map(sum, slowed)) + max((f.period_s or 0.0 for f in flows), default=0.0))


def _slowed(flows: Sequence[Flow], contention: Contention | None) -> list[tuple[float, ...]]:
    """Seconds of each stage while every other engine runs what draws most there."""
    if contention is None:
        return [tuple(job.seconds for job in flow.jobs) for flow in flows]
    most: dict[int, float] = {}
    for flow in flows:
        for engine, demand in flow.demand.items():
            most[engine] = max(most.get(engine, 0.0), demand)
    others = {engine: sum(d for e, d in most.items() if e != engine) for engine in most}
    return [
        tuple(
            job.seconds * contention.slowdown(job.demand, others[job.engine]) for job in flow.jobs
        )
        for flow in flows
    ]


def _is_undisturbed(flows: Sequence[Flow], contention: Contention | None, m: int) -> bool:
    """Whether frames of a flow meet neither those of others nor each other."""
    own = flows[m]
    if own.period_s is not None and own.alone_s > own.period_s:
        return False
    rest = [flow for i, flow in enumerate(flows) if i != m]
    if any(own.engines & flow.engines for flow in rest):
        return False
    return not rest or contention is None or not any(own.demand.values())


@dataclass(frozen=True)
class _Neighbours:
    """One flow and what is around it: all flows, their slowed stages, the ends of those above."""

    flows: Sequence[Flow]
    slowed: Sequence[tuple[float, ...]]
    ends: Sequence[tuple[float, ...]]
    own: int

    @property
    def flow(self) -> Flow:
        """The flow itself."""
        return self.flows[self.own]

    @property
    def seconds(self) -> tuple[float, ...]:
        """Its stages' seconds."""
        return self.slowed[self.own]

    def blocking(self, k: int, ready: float) -> float:
        """What an engine may have begun, and must finish, when stage ``k`` gets ready.

        That is a stage of a lower priority, a later one of its own frame that does not wait for
        it, or one of a later frame. ``ready`` is when it is ready at the latest.
        """
        flow, engine = self.flow, self.flow.jobs[k].engine
        most = 0.0
        for lower in range(self.own + 1, len(self.flows)):
            for job, seconds in zip(self.flows[lower].jobs, self.slowed[lower], strict=True):
                if job.engine == engine:
                    most = max(most, seconds)
        for i, job in enumerate(flow.jobs):
            if job.engine != engine:
                continue
            is_overtaken = i > k and k not in flow.before[i]
            if is_overtaken or self._next_starts(i) < ready * _CAREFUL:
                most = max(most, self.seconds[i])
        return most

    def _next_starts(self, stage: int) -> float:
        flow = self.flow
        return INFINITY if flow.period_s is None else flow.period_s + flow.starts[stage]

    def sooner(self, k: int) -> float:
        """Earlier stages of the frame on the engine of stage ``k`` that it does not read from."""
        flow = self.flow
        return sum(
            self.seconds[i]
            for i in range(k)
            if flow.jobs[i].engine == flow.jobs[k].engine and i not in flow.before[k]
        )

    def interference(self, engine: int, first: float, last: float, ends: Sequence[float]) -> float:
        """Work that goes first on an engine: of higher priority, or of earlier frames.

        Stages of the frame wait for the engine between ``first`` and ``last``, in seconds after its
        arrival. ``ends`` is when its stages end at the latest, as far as that is known.
        """
        total = 0.0
        for m, known in enumerate(self.ends):
            other = self.flows[m]
            for i, job in enumerate(other.jobs):
                if job.engine == engine and self.slowed[m][i] > 0:
                    span = last - first + known[i] - other.starts[i]
                    total += _frames(span, other.spacing_s) * self.slowed[m][i]
        period = self.flow.period_s
        if period is not None:
            for i, job in enumerate(self.flow.jobs):
                if job.engine == engine:
                    total += max(0, _frames(ends[i] - first, period) - 1) * self.seconds[i]
        return total

    def is_overloaded(self) -> bool:
        """Whether an engine it uses gets more work of its priority or above than it can do."""
        return any(
            sum(
                sum(s for job, s in zip(f.jobs, own, strict=True) if job.engine == e) / f.spacing_s
                for f, own in zip(self.flows[: self.own + 1], self.slowed, strict=False)
                if f.spacing_s > 0 and (f.period_s is not None or f is not self.flow)
            )
            > _CAREFUL
            for e in self.flow.engines
        )


def _frames(span: float, spacing: float) -> float:
    """The most frames, so far apart, that arrive within a span that holds one of its ends."""
    if span <= 0:
        return 0
    if spacing <= 0 or span == INFINITY:
        return INFINITY
    return math.ceil(span / spacing * _CAREFUL)


def _ends(board: _Neighbours) -> tuple[float, ...]:
    """When each stage of a flow has ended at the latest, in seconds after its frame's arrival.

    The least solution of equations in which nothing ever falls, from below.
    """
    flow = board.flow
    if board.is_overloaded():
        return (INFINITY,) * len(flow.jobs)
    enough = _enough(board.flows, board.slowed)
    pairs = zip(flow.starts, flow.jobs, strict=True)
    ends = [start + job.seconds for start, job in pairs]
    while True:
        found = _next_ends(board, ends)
        if max(found) > enough:
            return (INFINITY,) * len(ends)
        if all(new <= old for new, old in zip(found, ends, strict=True)):
            return tuple(found)
        ends = [max(pair) for pair in zip(found, ends, strict=True)]


def _next_ends(board: _Neighbours, ends: Sequence[float]) -> list[float]:
    flow, seconds = board.flow, board.seconds
    chains: list[float] = []  # the longest way to the end of each stage, without interference
    found = []
    for k, job in enumerate(flow.jobs):
        ready = max((ends[i] for i in job.after), default=0.0)
        chain = max((chains[i] for i in job.after), default=0.0)
        chains.append(chain + board.blocking(k, ready) + board.sooner(k) + seconds[k])
        way = flow.before[k] | {k}
        total = chains[k]
        for engine in {flow.jobs[i].engine for i in way}:
            visits = [i for i in way if flow.jobs[i].engine == engine]
            first = min(flow.starts[i] for i in visits)
            last = max(ends[i] - seconds[i] for i in visits)
            total += board.interference(engine, first, max(first, last), ends)
        found.append(total)
    return found
