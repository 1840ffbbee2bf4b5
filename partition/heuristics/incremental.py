"""A placement whose numbers follow when single regions move, without a look at all the others.

``evaluate.schedule`` defines the numbers; this keeps the sums it is made of. Moving a region costs
its values and the stages that read them, putting the plan in numbers costs its stages alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgeweave.partition.contention import SHARED_MEMORY, Traffic, contended_interval
from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import Assignment, Schedule, StageTime
from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.overlap import Job, run_once
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a placement amounts to, in seconds and joules; ``energy_j`` as in ``Schedule``."""

    latency_s: float
    interval_s: float
    energy_j: float | None
    stages: int

    def value(self, objective: Objective) -> float:
        """The value of the objective, in its unit; an energy that is unknown is infinite."""
        if objective is Objective.ENERGY:
            return INFINITY if self.energy_j is None else self.energy_j
        return self.latency_s if objective is Objective.LATENCY else self.interval_s


def engine_loads(jobs: Iterable[Job], engines: int) -> list[Traffic]:
    """What each engine does per frame."""
    seconds, nbytes = [0.0] * engines, [0] * engines
    for job in jobs:
        seconds[job.engine] += job.seconds
        nbytes[job.engine] += job.nbytes
    return [Traffic(s, b) for s, b in zip(seconds, nbytes, strict=True)]


class Placed:
    """Regions in stages, any of which may be empty; an empty stage is none.

    Stages go by a number that they keep while others come and go; ``order`` lists the numbers as
    the stages run. ``slot[k]``, ``members[k]`` are the slot and the regions of stage ``k``,
    ``stage_of[r]`` is the stage of region ``r``. Who moves regions sees to it that no edge runs
    back in the order whenever the numbers are asked for.
    """

    def __init__(self, problem: Problem, assignment: Assignment) -> None:
        self.problem = problem
        self.slot: list[int] = []
        self.order: list[int] = []
        self.members: list[set[int]] = []
        self.stage_of = [0] * problem.size
        self._work: list[float] = []
        self._transfer: list[float] = []
        self._nbytes: list[int] = []
        self._after: list[dict[int, int]] = []  # per stage: how many values come from which stage
        self._listed: list[tuple[int, ...] | None] = []
        self._readers: list[dict[int, int]] = [{} for _ in problem.values]  # per value: by stage
        self._sent = [0.0] * len(problem.values)
        self._missing = 0  # refusals and missing links
        self._kept = [0] * len(problem.engines)
        self._groups_of: dict[int, list[int]] = {}
        for g, group in enumerate(problem.table.colocated):
            for region in set(group):
                self._groups_of.setdefault(region, []).append(g)
        self._engines_of: list[dict[int, int]] = [{} for _ in problem.table.colocated]
        for slot, regions in assignment:
            stage = self.open_stage(slot, len(self.order))
            for region in regions:
                self.stage_of[region] = stage
                self._count(region, stage, 1)
        for i, value in enumerate(problem.values):
            source, readers = self.stage_of[value.producer], self._readers[i]
            for consumer in value.consumers:
                reader = self.stage_of[consumer]
                readers[reader] = readers.get(reader, 0) + 1
            for reader in readers:
                self._pay(i, source, reader, 1)
            if problem.sends:
                self._send(i, source)

    def open_stage(self, slot: int, position: int) -> int:
        """A new, empty stage at that position of the order; returns its number."""
        self.slot.append(slot)
        self.members.append(set())
        self._work.append(self.problem.overhead[slot])
        self._transfer.append(0.0)
        self._nbytes.append(0)
        self._after.append({})
        self._listed.append(None)
        self.order.insert(position, len(self.slot) - 1)
        return self.order[position]

    def close_stages(self, stages: Iterable[int]) -> None:
        """Forget these stages, the last that were opened; they must be empty."""
        for stage in sorted(stages, reverse=True):
            if self.members[stage] or stage != len(self.slot) - 1:
                raise ValueError(f"stage {stage} holds regions or is not the last that was opened")
            self.order.remove(stage)
            for kept in (self.slot, self.members, self._work, self._transfer):
                kept.pop()
            for more in (self._nbytes, self._after, self._listed):
                more.pop()

    @property
    def position(self) -> list[int]:
        """Where each stage stands in the order, by its number."""
        at = [0] * len(self.order)
        for i, stage in enumerate(self.order):
            at[stage] = i
        return at

    @property
    def used(self) -> list[int]:
        """The stages that hold regions, in order."""
        return [k for k in self.order if self.members[k]]

    def move(self, region: int, target: int) -> None:
        """Put the region into another stage."""
        here = self.stage_of[region]
        if here == target:
            return
        problem = self.problem
        for i in problem.inputs[region]:
            source, readers = self.stage_of[problem.values[i].producer], self._readers[i]
            readers[here] -= 1
            if not readers[here]:
                del readers[here]
                self._pay(i, source, here, -1)
            if target not in readers:
                readers[target] = 0
                self._pay(i, source, target, 1)
            readers[target] += 1
            if problem.sends:
                self._send(i, source)
        for i in problem.outputs[region]:
            for reader in self._readers[i]:
                self._pay(i, here, reader, -1)
                self._pay(i, target, reader, 1)
            if problem.sends:
                self._transfer[here] -= self._sent[i]
                self._sent[i] = 0.0
                self._send(i, target)
        self.stage_of[region] = target
        self._count(region, here, -1)
        self._count(region, target, 1)

    @contextmanager
    def trial(self) -> Iterator[Callable[[], None]]:
        """What is moved inside and moved back leaves no trace, not even of rounding.

        Who means to keep what was moved calls what this yields.
        """
        work, transfer, kept = self._work[:], self._transfer[:], list[bool]()
        try:
            yield lambda: kept.append(True)
        finally:
            if not kept:
                self._work[: len(work)], self._transfer[: len(transfer)] = work, transfer

    def tried(self, region: int, target: int) -> Numbers | None:
        """The numbers with one region in another stage; None when that breaks a rule."""
        here, work, transfer = self.stage_of[region], self._work[:], self._transfer[:]
        self.move(region, target)
        found = None if self.is_broken else self.numbers()
        self.move(region, here)
        self._work, self._transfer = work, transfer
        return found

    @property
    def is_broken(self) -> bool:
        """Whether a slot refuses, a link is missing, or an engine or a group is out of bounds."""
        problem = self.problem
        if self._missing:
            return True
        if not problem.is_constrained:
            return False
        if any(k > most for k, most in zip(self._kept, problem.capacity, strict=True)):
            return True
        if any(len(engines) > 1 for engines in self._engines_of):
            return True
        limits = problem.engine_stages
        return any(x < INFINITY and self.stage_count(e) > x for e, x in enumerate(limits))

    def stage_count(self, engine: int) -> int:
        """How many stages the engine runs."""
        return [self.problem.engine_of[self.slot[stage]] for stage in self.used].count(engine)

    def kept_bytes(self, engine: int) -> int:
        """What the regions on the engine keep there."""
        return self._kept[engine]

    def numbers(self) -> Numbers:
        """Latency, interval, energy and stages of the placement as it is."""
        stages, jobs = self._jobs()
        times = run_once(jobs, len(self.problem.engines), self.problem.table.contention)
        interval, _ = self._interval(jobs)
        latency = max(end for _, end in times)
        return Numbers(latency, interval, self._energy(stages, jobs), len(stages))

    def interval_s(self) -> float:
        """The interval alone, which needs no run of the stages."""
        return self._interval(self._jobs()[1])[0]

    def assignment(self) -> Stages:
        """The placement: the stages that hold regions, in order."""
        return tuple((self.slot[k], self._regions(k)) for k in self.used)

    def schedule(self) -> Schedule:
        """The placement as ``evaluate.schedule`` gives it, up to rounding."""
        stages, jobs = self._jobs()
        times = run_once(jobs, len(self.problem.engines), self.problem.table.contention)
        interval, slowest = self._interval(jobs)
        engines = self.problem.engines
        busy = dict.fromkeys(engines, 0.0)
        for job in jobs:
            busy[engines[job.engine]] += job.seconds
        return Schedule(
            stages=tuple(
                StageTime(
                    self.slot[k], self._regions(k), self._work[k], self._transfer[k], start, end
                )
                for k, (start, end) in zip(stages, times, strict=True)
            ),
            latency_s=max(end for _, end in times),
            interval_s=interval,
            interval_limit=SHARED_MEMORY if slowest is None else engines[slowest],
            engine_s=busy,
            energy_j=self._energy(stages, jobs),
        )

    def _jobs(self) -> tuple[list[int], list[Job]]:
        stages = self.used
        index = {stage: i for i, stage in enumerate(stages)}
        engine_of = self.problem.engine_of
        return stages, [
            Job(
                engine_of[self.slot[k]],
                self._work[k] + self._transfer[k],
                self._nbytes[k],
                tuple([index[source] for source in self._after[k]]),
            )
            for k in stages
        ]

    def jobs(self) -> list[Job]:
        """The stages that hold regions, in order, as work for their engines."""
        return self._jobs()[1]

    def _interval(self, jobs: list[Job]) -> tuple[float, int | None]:
        loads, table = engine_loads(jobs, len(self.problem.engines)), self.problem.table
        return contended_interval(loads, table.contention, table.dram_bytes_per_s)

    def _energy(self, stages: list[int], jobs: list[Job]) -> float | None:
        total = 0.0
        for stage, job in zip(stages, jobs, strict=True):
            watts = self.problem.power[self.slot[stage]]
            if watts is None:
                return None
            total += watts * job.seconds
        return total

    def _regions(self, stage: int) -> tuple[int, ...]:
        listed = self._listed[stage]
        if listed is None:
            listed = self._listed[stage] = tuple(sorted(self.members[stage]))
        return listed

    def _pay(self, i: int, source: int, reader: int, sign: int) -> None:
        """Add (or take back, with -1) what the reading stage pays for a value, and its wait."""
        if source == reader:
            return
        price = self.problem.price[i][self.slot[source]][self.slot[reader]]
        if price == INFINITY:
            self._missing += sign
        else:
            self._transfer[reader] += sign * price
        if not self.problem.values[i].feedback:
            after = self._after[reader]
            count = after.get(source, 0) + sign
            if count:
                after[source] = count
            else:
                del after[source]

    def _send(self, i: int, source: int) -> None:
        """Let the stage that makes the value pay the dearest of its present readers."""
        prices = self.problem.send[i][self.slot[source]]
        paid = [prices[self.slot[reader]] for reader in self._readers[i] if reader != source]
        dearest = max((p for p in paid if p < INFINITY), default=0.0)
        self._transfer[source] += dearest - self._sent[i]
        self._sent[i] = dearest

    def _count(self, region: int, stage: int, sign: int) -> None:
        """Add the region to what its stage and engine do and hold, or take it away."""
        problem, slot = self.problem, self.slot[stage]
        engine = problem.engine_of[slot]
        if sign > 0:
            self.members[stage].add(region)
        else:
            self.members[stage].remove(region)
        self._listed[stage] = None
        seconds = problem.seconds[region][slot]
        if seconds == INFINITY:
            self._missing += sign
        else:
            self._work[stage] += sign * seconds
        self._nbytes[stage] += sign * problem.table.dram_bytes[region]
        self._kept[engine] += sign * problem.memory_bytes[region]
        for g in self._groups_of.get(region, ()):
            engines = self._engines_of[g]
            engines[engine] = engines.get(engine, 0) + sign
            if not engines[engine]:
                del engines[engine]
