"""Several models on one board: what is asked of each, and what plans of all of them amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from edgeweave.partition.contention import Contention, memory_seconds
from edgeweave.partition.costs import INFINITY, CostTable
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import TOLERANCE, Schedule
from edgeweave.partition.overlap import Job
from edgeweave.partition.plan import Stage
from edgeweave.partition.plan_stages import plan_stages
from edgeweave.partition.problem import Problem
from edgeweave.partition.several.response_time import Flow, response_times
from edgeweave.partition.simulation.plan_jobs import plan_jobs

Key = tuple[float, ...]


@dataclass(frozen=True)
class ModelRequest:
    """One of the models, and what is asked of it.

    ``budget_s`` bounds a frame's response, ``fps`` is how many frames arrive per second.
    """

    name: str
    table: CostTable
    budget_s: float | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        for what, value in (("budget", self.budget_s), ("rate", self.fps)):
            if value is not None and not 0 < value < INFINITY:
                raise PartitionError(
                    f"model {self.name}", f"a {what} of {value} is not above 0", "Give one above 0"
                )

    @property
    def period_s(self) -> float | None:
        """The least time between two frames; one per budget where no rate is given.

        None with neither: a frame then starts when the one before it has ended.
        """
        return self.budget_s if self.fps is None else 1 / self.fps


@dataclass(frozen=True)
class Candidate:
    """One plan for one of the models: stages, and what they put on engines and memory."""

    origin: str
    schedule: Schedule
    stages: tuple[Stage, ...]
    flow: Flow
    load_s: tuple[float, ...]
    nbytes: int
    kept_bytes: tuple[int, ...]


@dataclass(frozen=True)
class Assessment:
    """What plans of all models amount to, the models in the order of the request.

    ``responses`` bound each model's response, infinite where no bound is found. ``busy[e][m]`` is
    the share of engine ``e``'s time that model ``m`` takes; without any period, seconds for one
    frame of each model. ``memory`` is the same of the shared memory. ``worst`` is the largest
    response over its budget; 0 without budgets. ``full`` names an engine that cannot keep all.
    """

    responses: tuple[float, ...]
    busy: tuple[tuple[float, ...], ...]
    memory: float
    worst: float
    feasible: bool
    full: str | None
    key: Key = field(repr=False)

    @property
    def utilisation(self) -> float:
        """The largest share of an engine's or of the memory's time that is taken."""
        return max(self.memory, *map(sum, self.busy))


@dataclass(frozen=True)
class Board:
    """The models on their engines: rates, priorities, and what limits them."""

    models: tuple[ModelRequest, ...]

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """The cost tables as the searches read them."""
        return tuple(Problem(model.table) for model in self.models)

    @property
    def engines(self) -> tuple[str, ...]:
        """Engine names, as every table has them."""
        return self.models[0].table.engines

    @cached_property
    def is_rated(self) -> bool:
        """Whether any model has a period."""
        return any(model.period_s is not None for model in self.models)

    @cached_property
    def has_budgets(self) -> bool:
        """Whether any model has a budget."""
        return any(model.budget_s is not None for model in self.models)

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """Frames per second of each model; 0 for what runs in the time that is left.

        Without any period one of each: loads are then seconds for a frame of every model.
        """
        if not self.is_rated:
            return (1.0,) * len(self.models)
        return tuple(0.0 if m.period_s is None else 1 / m.period_s for m in self.models)

    @cached_property
    def priorities(self) -> tuple[int, ...]:
        """The models by priority, the highest first.

        The shorter budget first (deadline monotonic); then those without one, the shorter period
        first; of equals the one that was given first.
        """

        def urgency(m: int) -> tuple[bool, float, bool, float]:
            model = self.models[m]
            rate = 0.0 if model.fps is None else 1 / model.fps
            return model.budget_s is None, model.budget_s or 0.0, model.fps is None, rate

        return tuple(sorted(range(len(self.models)), key=urgency))

    @cached_property
    def contention(self) -> Contention | None:
        """How engines slow each other down: the tables' law, or a fair share of the bandwidth."""
        tables = [model.table for model in self.models]
        stated = next((t.contention for t in tables if t.contention is not None), None)
        if stated is not None or not any(any(t.dram_bytes) for t in tables):
            return stated
        return Contention(self.bandwidth) if self.bandwidth > 0 else None

    @cached_property
    def bandwidth(self) -> float:
        """Bytes per second of the shared memory; 0 where no table states it."""
        return max(model.table.dram_bytes_per_s for model in self.models)

    @cached_property
    def capacity(self) -> tuple[float, ...]:
        """Bytes that each engine can keep, for all models together."""
        return tuple(
            min(limits) for limits in zip(*(p.capacity for p in self.problems), strict=True)
        )

    def candidate(self, m: int, schedule: Schedule, origin: str) -> Candidate:
        """A plan of one model as work for the engines."""
        table, memory = self.models[m].table, self.problems[m].memory_bytes
        stages = plan_stages(table, schedule)
        jobs = plan_jobs(stages, table.values, table.dram_bytes, self.engines)
        load, kept = [0.0] * len(self.engines), [0] * len(self.engines)
        for job, stage in zip(jobs, stages, strict=True):
            load[job.engine] += job.seconds
            kept[job.engine] += sum(memory[r] for r in stage.regions)
        return Candidate(
            origin=origin,
            schedule=schedule,
            stages=stages,
            flow=Flow(jobs, self.models[m].period_s, self._alone(jobs)),
            load_s=tuple(load),
            nbytes=sum(job.nbytes for job in jobs),
            kept_bytes=tuple(kept),
        )

    def _alone(self, jobs: tuple[Job, ...]) -> float:
        """What one frame takes on an idle board where engines take what is ready."""
        from edgeweave.partition.simulation.simulate import simulate
        from edgeweave.partition.simulation.stream import Stream

        run = simulate([Stream("alone", jobs, 1)], self.engines, self.contention)
        return run.streams[0].response_s[0]

    def assess(self, plans: Sequence[Candidate | None]) -> Assessment:
        """The numbers of plans for all models, or for some (None: not placed yet).

        What is asked of a model that is not placed is taken to be met; with every model that is
        placed the key grows.
        """
        order = [m for m in self.priorities if plans[m] is not None]
        flows = [plans[m].flow for m in order]  # type: ignore[union-attr]
        responses = [0.0] * len(self.models)
        for m, seconds in zip(order, response_times(flows, self.contention), strict=True):
            responses[m] = seconds
        busy = tuple(
            tuple(
                0.0 if plan is None else rate * plan.load_s[e]
                for plan, rate in zip(plans, self.rates, strict=True)
            )
            for e in range(len(self.engines))
        )
        moved = sum(
            rate * plan.nbytes for plan, rate in zip(plans, self.rates, strict=True) if plan
        )
        memory = memory_seconds(moved, self.bandwidth)
        return self._judge(responses, busy, memory, self._full(plans))

    def _full(self, plans: Sequence[Candidate | None]) -> str | None:
        for e, limit in enumerate(self.capacity):
            if sum(plan.kept_bytes[e] for plan in plans if plan) > limit:
                return self.engines[e]
        return None

    def _judge(
        self,
        responses: Sequence[float],
        busy: tuple[tuple[float, ...], ...],
        memory: float,
        full: str | None,
    ) -> Assessment:
        """Sum up; the key orders plans: what is met first, then the worst, then the load."""
        pairs = list(zip(self.models, responses, strict=True))
        ratios = [r / m.budget_s for m, r in pairs if m.budget_s is not None]
        worst = max(ratios, default=0.0)
        load = max(memory, *map(sum, busy))
        unbounded = sum(r == INFINITY for m, r in pairs if m.period_s is not None)
        fits = not self.is_rated or load <= 1 + TOLERANCE
        feasible = full is None and fits and worst <= 1 + TOLERANCE and not unbounded
        finite = max((ratio for ratio in ratios if ratio < INFINITY), default=0.0)
        rest = sum(r for r in responses if r < INFINITY)
        missed = (float(unbounded), max(finite, 0.0 if fits else load))
        quality = (0.0, worst) if feasible else missed
        key = (float(full is not None), float(not feasible), *quality, load, rest)
        return Assessment(tuple(responses), busy, memory, worst, feasible, full, key)
