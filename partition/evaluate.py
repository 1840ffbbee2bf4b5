"""The single definition of a plan's numbers: stage times, latency of a frame, interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeweave.partition.contention import SHARED_MEMORY, Traffic, contended_interval
from edgeweave.partition.costs import INFINITY, CostTable
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.overlap import Job, run_once
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem
from edgeweave.targets.backend import Refusal

Assignment = Sequence[tuple[int, tuple[int, ...]]]
"""Stages in order, each a slot index and the indices of its regions."""

TOLERANCE = 1e-9
"""Relative difference below which two durations are the same: far below any cost's precision."""


@dataclass(frozen=True)
class StageTime:
    """One stage in one frame on an idle board; all times in seconds."""

    slot: int
    regions: tuple[int, ...]
    compute_s: float
    transfer_s: float
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Schedule:
    """What a placement amounts to: its stages in time, latency, and interval with its cause.

    ``engine_s`` is what each engine is busy per frame. ``energy_j`` is what the engines draw for
    one frame, None when a slot in use states no power.
    """

    stages: tuple[StageTime, ...]
    latency_s: float
    interval_s: float
    interval_limit: str
    engine_s: Mapping[str, float]
    energy_j: float | None = None

    @property
    def assignment(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The placement this schedule was computed from."""
        return tuple((stage.slot, stage.regions) for stage in self.stages)

    def value(self, objective: Objective) -> float:
        """The plan's value of the objective, in its unit; an energy that is unknown is infinite."""
        if objective is Objective.ENERGY:
            return INFINITY if self.energy_j is None else self.energy_j
        return self.latency_s if objective is Objective.LATENCY else self.interval_s


def evaluate(table: CostTable, assignment: Assignment) -> Schedule:
    """Check a placement and compute its numbers.

    Raises PartitionError when a region is missing or doubled, a stage is empty, a slot refuses a
    region, an edge runs against the order of stages, a value has no link to travel on, an engine
    has too many stages or too little memory, or regions that belong together are apart.
    """
    problem = Problem(table)
    check(problem, assignment)
    return schedule(problem, assignment)


def check(problem: Problem, assignment: Assignment) -> None:
    """Raise PartitionError unless the placement is a valid one."""
    stage_of = _stage_of_region(problem, assignment)
    table = problem.table
    for slot, regions in assignment:
        for region in regions:
            cost = table.costs[region][slot]
            if isinstance(cost, Refusal):
                raise PartitionError(
                    f"region {table.regions[region]}",
                    f"{table.slots[slot]} refuses it: {cost.reason} [{cost.rule}]",
                )
    for i, value in enumerate(problem.values):
        source = stage_of[value.producer]
        for consumer in value.consumers:
            target = stage_of[consumer]
            names = f"{table.regions[value.producer]} to {table.regions[consumer]}"
            if target < source and not value.feedback:
                raise PartitionError(
                    f"edge {names}", f"it runs back from stage {source} to stage {target}"
                )
            a, b = assignment[source][0], assignment[target][0]
            if problem.price[i][a][b] == INFINITY:
                raise PartitionError(
                    f"edge {names}",
                    f"no link joins {table.slots[a]} and {table.slots[b]}",
                    "Add a link between their engines to the board",
                )
    broken = broken_constraint(problem, assignment)
    if broken is not None:
        raise PartitionError("placement", broken)


def broken_constraint(problem: Problem, assignment: Assignment) -> str | None:
    """What the placement breaks of the engines' limits and of colocation, in words, or None."""
    if not problem.is_constrained:
        return None
    kept = [0] * len(problem.engines)
    stages = [0] * len(problem.engines)
    engine_of: dict[int, int] = {}
    for slot, regions in assignment:
        engine = problem.engine_of[slot]
        stages[engine] += 1
        for region in regions:
            kept[engine] += problem.memory_bytes[region]
            engine_of[region] = engine
    for e, name in enumerate(problem.engines):
        if kept[e] > problem.capacity[e]:
            return f"{name} would keep {kept[e]} bytes of {problem.capacity[e]:.0f}"
        if stages[e] > problem.engine_stages[e]:
            return f"{name} would run {stages[e]} stages of at most {problem.engine_stages[e]:.0f}"
    for group in problem.table.colocated:
        if len({engine_of[r] for r in group}) > 1:
            names = ", ".join(problem.table.regions[r] for r in group)
            return f"{names} belong on one engine"
    return None


def _stage_of_region(problem: Problem, assignment: Assignment) -> dict[int, int]:
    stage_of: dict[int, int] = {}
    for index, (slot, regions) in enumerate(assignment):
        if not regions:
            raise PartitionError(f"stage {index}", "it holds no region")
        if not 0 <= slot < problem.width:
            raise PartitionError(f"stage {index}", f"the table has no slot {slot}")
        for region in regions:
            if not 0 <= region < problem.size:
                raise PartitionError(f"stage {index}", f"the table has no region {region}")
            if region in stage_of:
                name = problem.table.regions[region]
                raise PartitionError(f"region {name}", "it is placed twice")
            stage_of[region] = index
    for region in range(problem.size):
        if region not in stage_of:
            raise PartitionError(f"region {problem.table.regions[region]}", "it is not placed")
    return stage_of


def schedule(problem: Problem, assignment: Assignment) -> Schedule:
    """The numbers of a placement that is known to be valid."""
    jobs, transfers = _jobs(problem, assignment)
    times = run_once(jobs, len(problem.engines), problem.table.contention)
    loads = [Traffic(0.0, 0)] * len(problem.engines)
    for job in jobs:
        load = loads[job.engine]
        loads[job.engine] = Traffic(load.seconds + job.seconds, load.nbytes + job.nbytes)
    interval, slowest = contended_interval(
        loads, problem.table.contention, problem.table.dram_bytes_per_s
    )
    return Schedule(
        stages=tuple(
            StageTime(slot, regions, job.seconds - transfer, transfer, start, end)
            for (slot, regions), job, transfer, (start, end) in zip(
                assignment, jobs, transfers, times, strict=True
            )
        ),
        latency_s=max(end for _, end in times),
        interval_s=interval,
        interval_limit=SHARED_MEMORY if slowest is None else problem.engines[slowest],
        engine_s={e: load.seconds for e, load in zip(problem.engines, loads, strict=True)},
        energy_j=_energy(problem, assignment, jobs),
    )


def _jobs(problem: Problem, assignment: Assignment) -> tuple[list[Job], list[float]]:
    """Each stage as work for its engine, and what of its seconds are transfers."""
    stage_of = [0] * problem.size
    for index, (_, regions) in enumerate(assignment):
        for region in regions:
            stage_of[region] = index
    transfers = [0.0] * len(assignment)
    after: list[set[int]] = [set() for _ in assignment]
    for i, value in enumerate(problem.values):
        source = stage_of[value.producer]
        readers = {stage_of[c] for c in value.consumers}
        readers.discard(source)
        if not readers:
            continue
        a = assignment[source][0]
        for reader in readers:
            transfers[reader] += problem.price[i][a][assignment[reader][0]]
            if not value.feedback:
                after[reader].add(source)
        if problem.sends:
            transfers[source] += max(problem.send[i][a][assignment[r][0]] for r in readers)
    jobs = []
    for index, (slot, regions) in enumerate(assignment):
        compute = problem.overhead[slot] + sum(problem.seconds[r][slot] for r in regions)
        jobs.append(
            Job(
                problem.engine_of[slot],
                compute + transfers[index],
                sum(problem.table.dram_bytes[r] for r in regions),
                tuple(sorted(after[index])),
            )
        )
    return jobs, transfers


def _energy(problem: Problem, assignment: Assignment, jobs: Sequence[Job]) -> float | None:
    """Joules of one frame: each stage's seconds times the power of its slot."""
    total = 0.0
    for (slot, _), job in zip(assignment, jobs, strict=True):
        watts = problem.power[slot]
        if watts is None:
            return None
        total += watts * job.seconds
    return total
