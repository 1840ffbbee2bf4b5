"""Every plan of a small problem, in turn: the exact way where no model knows a plan's number.

How much the stages of one frame slow each other down depends on which of them overlap, and no bound
better than the undisturbed times is known before all stages are. So the plans whose undisturbed
numbers are good enough are all tried. That is a matter of seconds up to about ten regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import TOLERANCE, broken_constraint, schedule
from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import tails
from edgeweave.partition.search.reduction import identical_engines

T = TypeVar("T")

SAME = 1e-12
"""Relative difference that the order of a sum can make."""


class OutOfTimeError(Exception):
    """The deadline has passed."""


@dataclass(frozen=True)
class Prefix:
    """The first stages of a plan, undisturbed: what all plans that begin so have at least.

    ``done`` are the placed regions as bits, ``ends`` the end of each stage; ``free``, ``count`` and
    ``kept`` are per engine its last end, its stages and the bytes it keeps. ``busy`` is its seconds
    of work, ``energy`` the joules so far.
    """

    stages: Stages
    done: int
    ends: tuple[float, ...]
    free: tuple[float, ...]
    busy: tuple[float, ...]
    count: tuple[int, ...]
    kept: tuple[int, ...]
    energy: float


@dataclass
class Enumeration:
    """A search through all plans of at most so many stages that keep the limits (seconds).

    ``value`` is what a plan must be below; afterwards it is that of ``best``, if one was found.
    """

    problem: Problem
    objective: Objective
    max_stages: int
    limits: tuple[float | None, float | None]
    value: float
    deadline: float
    best: Stages | None = None
    _place: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self.problem
        fastest = [min(row) for row in problem.seconds]
        watts = [power or 0.0 for power in problem.power]
        self._overhead = min(problem.overhead)
        self._tail = tails(problem, fastest)
        self._needs = [sum(1 << p for p in before) for before in problem.predecessors]
        self._work = fastest
        self._watts = watts
        self._joules = [
            min(w * c for w, c in zip(watts, row, strict=True) if c < INFINITY)
            for row in problem.seconds
        ]
        self._ahead = {
            engine: group[i - 1]
            for group in identical_engines(problem)
            for i, engine in enumerate(group)
            if i > 0
        }

    def run(self) -> bool:
        """Whether all plans were looked at before the deadline."""
        none = (0.0,) * len(self.problem.engines)
        nothing = (0,) * len(self.problem.engines)
        try:
            self._extend(Prefix((), 0, (), none, none, nothing, nothing, 0.0))
        except OutOfTimeError:
            return False
        return True

    def _extend(self, prefix: Prefix) -> None:
        if perf_counter() > self.deadline:
            raise OutOfTimeError
        if prefix.done == (1 << self.problem.size) - 1:
            self._try(prefix.stages)
            return
        if len(prefix.stages) == self.max_stages:
            return
        for slot in range(self.problem.width):
            engine = self.problem.engine_of[slot]
            ahead = self._ahead.get(engine)
            if ahead is not None and prefix.count[ahead] == 0:
                continue
            if prefix.count[engine] >= self.problem.engine_stages[engine]:
                continue
            for regions in self._sets(prefix, slot):
                longer = self._with(prefix, slot, regions)
                if longer is not None and self._may_be_good(longer):
                    for r in regions:
                        self._place[r] = len(prefix.stages)
                    self._extend(longer)

    def _sets(self, prefix: Prefix, slot: int) -> Iterator[tuple[int, ...]]:
        """What can be the next stage on the slot; all that is left, when it is the last one."""
        left = [r for r in range(self.problem.size) if not prefix.done >> r & 1]
        if len(prefix.stages) == self.max_stages - 1:
            yield tuple(left)
            return
        stack: list[tuple[int, int, tuple[int, ...]]] = [(0, prefix.done, ())]
        while stack:
            i, done, chosen = stack.pop()
            if i == len(left):
                if chosen:
                    yield chosen
                continue
            r = left[i]
            stack.append((i + 1, done, chosen))
            if self._needs[r] & ~done == 0 and self.problem.seconds[r][slot] < INFINITY:
                stack.append((i + 1, done | 1 << r, (*chosen, r)))

    def _with(self, prefix: Prefix, slot: int, regions: tuple[int, ...]) -> Prefix | None:
        """One stage more; None where that is no plan, or the same as another one."""
        problem, engine = self.problem, self.problem.engine_of[slot]
        seconds = problem.overhead[slot] + sum(problem.seconds[r][slot] for r in regions)
        read: set[int] = set()
        for i in {i for r in regions for i in problem.inputs[r]}:
            value = problem.values[i]
            if prefix.done >> value.producer & 1 and not value.feedback:
                source = self._place[value.producer]
                read.add(source)
                seconds += problem.price[i][prefix.stages[source][0]][slot]
        kept = prefix.kept[engine] + sum(problem.memory_bytes[r] for r in regions)
        if seconds == INFINITY or kept > problem.capacity[engine]:
            return None
        last = len(prefix.stages) - 1
        # Two stages that may change places stand in the order of their engines.
        free_to_swap = last >= 0 and last not in read
        if free_to_swap and problem.engine_of[prefix.stages[last][0]] > engine:
            return None
        end = max(prefix.free[engine], *(prefix.ends[i] for i in read), 0.0) + seconds
        return Prefix(
            (*prefix.stages, (slot, regions)),
            prefix.done | sum(1 << r for r in regions),
            (*prefix.ends, end),
            _changed(prefix.free, engine, end),
            _changed(prefix.busy, engine, prefix.busy[engine] + seconds),
            _changed(prefix.count, engine, prefix.count[engine] + 1),
            _changed(prefix.kept, engine, kept),
            prefix.energy + seconds * self._watts[slot],
        )

    def _may_be_good(self, prefix: Prefix) -> bool:
        left = [r for r in range(self.problem.size) if not prefix.done >> r & 1]
        share = (sum(prefix.busy) + sum(self._work[r] for r in left)) / len(prefix.busy)
        waits = (
            prefix.ends[self._place_in(prefix, p)] + self._overhead + self._tail[r]
            for r in left
            for p in self.problem.predecessors[r]
            if prefix.done >> p & 1
        )
        latency = max(share, *prefix.ends, *waits)
        interval = max(share, *prefix.busy)
        energy = prefix.energy + sum(self._joules[r] for r in left)
        for least, limit in zip((latency, interval), self.limits, strict=True):
            if limit is not None and least > limit * (1 + TOLERANCE):
                return False
        least_of = {Objective.LATENCY: latency, Objective.INTERVAL: interval}
        return least_of.get(self.objective, energy) < self.value * (1 - SAME)

    def _place_in(self, prefix: Prefix, region: int) -> int:
        """The stage of a placed region; the newest stage is not in the table of places yet."""
        newest = len(prefix.stages) - 1
        return newest if region in prefix.stages[newest][1] else self._place[region]

    def _try(self, stages: Stages) -> None:
        problem = self.problem
        if broken_constraint(problem, stages) is not None:
            return
        if any(
            problem.price[i][self._slot(stages, v.producer)][self._slot(stages, c)] == INFINITY
            for i, v in enumerate(problem.values)
            if v.feedback
            for c in v.consumers
        ):
            return
        plan = schedule(problem, stages)
        for number, limit in zip((plan.latency_s, plan.interval_s), self.limits, strict=True):
            if limit is not None and number > limit * (1 + TOLERANCE):
                return
        if plan.value(self.objective) < self.value * (1 - SAME):
            self.value = plan.value(self.objective)
            self.best = stages

    def _slot(self, stages: Stages, region: int) -> int:
        return stages[self._place[region]][0]


def _changed(row: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*row[:index], value, *row[index + 1 :])
