"""The single definition of a plan's numbers: stage times, latency of a frame, interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeweave.partition.contention import SHARED_MEMORY
from edgeweave.partition.costs import CostTable
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import INFINITY, Problem
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

    ``engine_s`` is what each engine is busy per frame.
    """

    stages: tuple[StageTime, ...]
    latency_s: float
    interval_s: float
    interval_limit: str
    engine_s: Mapping[str, float]

    @property
    def assignment(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The placement this schedule was computed from."""
        return tuple((stage.slot, stage.regions) for stage in self.stages)

    def value(self, objective: Objective) -> float:
        """Seconds of the objective."""
        return self.latency_s if objective is Objective.LATENCY else self.interval_s


def evaluate(table: CostTable, assignment: Assignment) -> Schedule:
    """Check a placement and compute its numbers.

    Raises PartitionError when a region is missing or doubled, a stage is empty, a slot refuses a
    region, an edge runs against the order of stages, or a value has no link to travel on.
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
            if target < source:
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
    stage_of = [0] * problem.size
    for index, (_, regions) in enumerate(assignment):
        for region in regions:
            stage_of[region] = index
    free = [0.0] * len(problem.engines)
    busy = [0.0] * len(problem.engines)
    stages: list[StageTime] = []
    for index, (slot, regions) in enumerate(assignment):
        received: set[int] = set()
        for region in regions:
            received.update(problem.inputs[region])
        ready, transfer = 0.0, 0.0
        for i in sorted(received):
            source = stage_of[problem.values[i].producer]
            if source != index:
                transfer += problem.price[i][assignment[source][0]][slot]
                ready = max(ready, stages[source].end_s)
        engine = problem.engine_of[slot]
        compute = problem.overhead[slot] + sum(problem.seconds[r][slot] for r in regions)
        start = max(ready, free[engine])
        end = start + compute + transfer
        free[engine] = end
        busy[engine] += compute + transfer
        stages.append(StageTime(slot, regions, compute, transfer, start, end))
    most = max(range(len(busy)), key=busy.__getitem__)
    memory_bound = problem.memory_s > busy[most]
    return Schedule(
        stages=tuple(stages),
        latency_s=max(stage.end_s for stage in stages),
        interval_s=max(busy[most], problem.memory_s),
        interval_limit=SHARED_MEMORY if memory_bound else problem.engines[most],
        engine_s=dict(zip(problem.engines, busy, strict=True)),
    )
