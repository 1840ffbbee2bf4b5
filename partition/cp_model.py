"""Placement as an integer program for CP-SAT.

Costs are rounded down to whole units, so every real plan is a solution of the model with a value
that is not above its real one: what CP-SAT proves about the model holds for the plans.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from math import floor, frexp
from typing import TYPE_CHECKING, Any

from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import INFINITY, Problem
from edgeweave.partition.reduction import identical_engines

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

RESOLUTION = 2.0**30
"""Units the largest modelled duration is divided into: a rounding error of 1e-9 per cost."""

ROUNDING = 1e-12
"""Relative error that a float sum of durations may have."""


@dataclass(frozen=True)
class Task:
    """What to minimise, under which limits, with at most how many stages (None: no limit)."""

    objective: Objective
    max_stages: int
    latency_limit_s: float | None = None
    interval_limit_s: float | None = None

    @property
    def needs_schedule(self) -> bool:
        """Whether start times matter; the interval alone is a sum per engine."""
        return self.objective is Objective.LATENCY or self.latency_limit_s is not None


@dataclass
class PlacementModel:
    """The model and its variables; see ``docs/placement.md`` for the formulation.

    ``by_stage[r][k]``: region r stands in stage k or an earlier one. ``slot[k][s]``: stage k is on
    slot s (none: stage unused). ``at[r,k,s]``: region r in stage k on slot s. ``on[r,s]``: region r
    on slot s. ``pays[i,k,s]``: (sources, variable, units) for each price at which stage k on slot s
    can receive value i. ``before[i,k]``: stage i must end before stage k starts.
    """

    problem: Problem
    task: Task
    unit: float
    model: cp_model.CpModel
    by_stage: list[list[cp_model.IntVar]] = field(default_factory=list)
    slot: list[list[cp_model.IntVar]] = field(default_factory=list)
    at: dict[tuple[int, int, int], cp_model.IntVar] = field(default_factory=dict)
    on: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    pays: dict[tuple[int, int, int], list[tuple[tuple[int, ...], cp_model.IntVar, int]]] = field(
        default_factory=dict
    )
    before: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)

    def units(self, seconds: float) -> int:
        """Whole units, rounded down; the unit is a power of two, so the division is exact."""
        return floor(seconds / self.unit)

    @property
    def stages(self) -> range:
        """The stage indices."""
        return range(self.task.max_stages)


def build(problem: Problem, task: Task, horizon_s: float, least_s: float = 0.0) -> PlacementModel:
    """The model of a task.

    ``horizon_s`` is at least, and ``least_s`` at most, the value of the best plan within limits.
    """
    from ortools.sat.python import cp_model

    unit = 2.0 ** (frexp(max(horizon_s, 1e-12))[1]) / RESOLUTION
    placement = PlacementModel(problem, task, unit, cp_model.CpModel())
    _add_stages(placement)
    _add_regions(placement)
    _add_transfers(placement)
    _break_symmetry(placement)
    busy = [engine_load(placement, e, range(problem.size)) for e in range(len(problem.engines))]
    horizon = placement.units(horizon_s) + 1
    if task.needs_schedule:
        latency = _add_schedule(placement, horizon, busy)
    least = placement.units(least_s * (1 - ROUNDING))
    if task.objective is Objective.LATENCY:
        placement.model.add(latency >= least)
        placement.model.minimize(latency)
    else:
        interval = placement.model.new_int_var(min(least, horizon), horizon, "interval")
        for load in busy:
            placement.model.add(interval >= load)
        placement.model.minimize(interval)
    if task.latency_limit_s is not None:
        placement.model.add(latency <= placement.units(task.latency_limit_s))
    if task.interval_limit_s is not None:
        for load in busy:
            placement.model.add(load <= placement.units(task.interval_limit_s))
    return placement


def _add_stages(p: PlacementModel) -> None:
    """A slot per stage; unused stages stand at the end."""
    slots = range(p.problem.width)
    for k in p.stages:
        p.slot.append([p.model.new_bool_var(f"slot{k}_{s}") for s in slots])
        if k == 0:
            p.model.add_exactly_one(p.slot[k])
        else:
            p.model.add_at_most_one(p.slot[k])
            p.model.add(sum(p.slot[k]) <= sum(p.slot[k - 1]))


def _add_regions(p: PlacementModel) -> None:
    """One stage and slot per region; stages do not fall along an edge."""
    problem, last = p.problem, p.task.max_stages - 1
    for r in range(problem.size):
        p.by_stage.append([p.model.new_bool_var(f"by{r}_{k}") for k in range(last)])
        for k in range(last - 1):
            p.model.add_implication(p.by_stage[r][k], p.by_stage[r][k + 1])
        takers = [s for s in range(problem.width) if problem.seconds[r][s] < INFINITY]
        for k in p.stages:
            for s in takers:
                p.at[r, k, s] = p.model.new_bool_var(f"at{r}_{k}_{s}")
                p.model.add_implication(p.at[r, k, s], p.slot[k][s])
            here = sum(p.at[r, k, s] for s in takers)
            p.model.add(here == _in_stage(p, r, k))
        for s in takers:
            p.on[r, s] = p.model.new_bool_var(f"on{r}_{s}")
            p.model.add(p.on[r, s] == sum(p.at[r, k, s] for k in p.stages))
        p.model.add_exactly_one(p.on[r, s] for s in takers)
    for a, b in problem.edges:
        for k in range(last):
            p.model.add_implication(p.by_stage[b][k], p.by_stage[a][k])


def _in_stage(p: PlacementModel, region: int, stage: int) -> Any:
    """1 when the region stands in the stage, from the order encoding."""
    by = p.by_stage[region]
    upper = by[stage] if stage < len(by) else 1
    return upper - by[stage - 1] if stage > 0 else upper


def _add_transfers(p: PlacementModel) -> None:
    """A stage pays once for each value it reads from another slot; without a link it cannot."""
    problem = p.problem
    for i, value in enumerate(problem.values):
        made_on = [s for s in range(problem.width) if (value.producer, s) in p.on]
        for s in range(problem.width):
            readers = [c for c in value.consumers if (c, s) in p.on]
            for sources, price in _sources_by_price(problem, i, s, made_on):
                if price == INFINITY:
                    for c in readers:
                        for a in sources:
                            p.model.add_at_most_one(p.on[c, s], p.on[value.producer, a])
            _add_payments(p, i, s, readers, made_on)


def _sources_by_price(
    problem: Problem, value: int, slot: int, made_on: list[int]
) -> list[tuple[tuple[int, ...], float]]:
    groups: dict[float, list[int]] = {}
    for a in made_on:
        if a != slot:
            groups.setdefault(problem.price[value][a][slot], []).append(a)
    return [(tuple(sources), price) for price, sources in groups.items()]


def _add_payments(
    p: PlacementModel, i: int, s: int, readers: list[int], made_on: list[int]
) -> None:
    producer = p.problem.values[i].producer
    priced = [
        (sources, p.units(price))
        for sources, price in _sources_by_price(p.problem, i, s, made_on)
        if price < INFINITY and p.units(price) > 0
    ]
    free = [a for a in made_on if not any(a in sources for sources, _ in priced)]
    if not readers or not priced:
        return
    for k in range(1, p.task.max_stages):
        options = []
        for sources, units in priced:
            pay = p.model.new_bool_var(f"pay{i}_{k}_{s}_{sources[0]}")
            options.append((sources, pay, units))
            made = sum(p.on[producer, a] for a in sources)
            for c in readers:
                p.model.add(pay >= p.at[c, k, s] + made - 1)
            p.model.add(pay <= p.slot[k][s])
        for c in readers:
            # Implied, but it is what makes the linear relaxation see the price of a border.
            unpaid = sum(p.on[producer, a] for a in free)
            p.model.add(sum(pay for _, pay, _ in options) >= p.at[c, k, s] - unpaid)
        p.pays[i, k, s] = options


def _break_symmetry(p: PlacementModel) -> None:
    """Of identical engines, a later one is not used before the one in front of it is."""
    for group in identical_engines(p.problem):
        for ahead, behind in pairwise(group):
            for k in p.stages:
                earlier = sum(p.slot[i][s] for i in range(k) for s in p.problem.slots_of(ahead))
                for s in p.problem.slots_of(behind):
                    p.model.add(p.slot[k][s] <= earlier)


def engine_load(p: PlacementModel, engine: int, regions: range) -> Any:
    """Units the engine is busy with these regions; all of them: with overheads as well.

    A transfer counts when both its ends lie in ``regions`` or its producer just before them.
    """
    problem, terms = p.problem, []
    for s in problem.slots_of(engine):
        for r in regions:
            if (r, s) in p.on:
                terms.append(p.units(problem.seconds[r][s]) * p.on[r, s])
        if len(regions) == problem.size:
            terms += [p.units(problem.overhead[s]) * p.slot[k][s] for k in p.stages]
        for i, value in enumerate(problem.values):
            if value.producer >= regions.start - 1 and value.consumers[-1] < regions.stop:
                terms += [units * pay for pay, units in payments(p, i, s)]
    return sum(terms)


def payments(p: PlacementModel, value: int, slot: int) -> Iterator[tuple[cp_model.IntVar, int]]:
    """All that stages on the slot may pay to receive the value: (variable, units)."""
    for k in range(1, p.task.max_stages):
        for _, pay, units in p.pays.get((value, k, slot), ()):
            yield pay, units


def _add_schedule(p: PlacementModel, horizon: int, busy: list[Any]) -> cp_model.IntVar:
    """Start and end per stage; returns the latency."""
    from edgeweave.partition.cp_relaxation import add_region_times

    problem = p.problem
    latency = p.model.new_int_var(0, horizon, "latency")
    starts = [p.model.new_int_var(0, horizon, f"start{k}") for k in p.stages]
    ends = [p.model.new_int_var(0, horizon, f"end{k}") for k in p.stages]
    for k in p.stages:
        p.model.add(ends[k] >= starts[k] + _stage_time(p, k))
        p.model.add(latency >= ends[k])
    for i, k in combinations(p.stages, 2):
        p.before[i, k] = p.model.new_bool_var(f"before{i}_{k}")
        p.model.add(starts[k] >= ends[i]).only_enforce_if(p.before[i, k])
        for engine in range(len(problem.engines)):
            slots = problem.slots_of(engine)
            both = [sum(p.slot[j][s] for s in slots) for j in (i, k)]
            p.model.add(p.before[i, k] >= sum(both) - 1)
        for a, b in problem.edges:
            p.model.add(p.before[i, k] >= _in_stage(p, a, i) + _in_stage(p, b, k) - 1)
    for load in busy:
        p.model.add(latency >= load)
    add_region_times(p, latency, horizon)
    return latency


def _stage_time(p: PlacementModel, k: int) -> Any:
    problem = p.problem
    terms = [p.units(problem.overhead[s]) * p.slot[k][s] for s in range(problem.width)]
    terms += [p.units(problem.seconds[r][s]) * var for (r, j, s), var in p.at.items() if j == k]
    for (_, j, _), options in p.pays.items():
        if j == k:
            terms += [units * pay for _, pay, units in options]
    return sum(terms)
