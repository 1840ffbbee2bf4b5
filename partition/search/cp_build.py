"""Placement as an integer program for CP-SAT: putting together the model of a task."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import TOLERANCE
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import serial_worst
from edgeweave.partition.search.cp_contention import add_keeps_up
from edgeweave.partition.search.cp_limits import add_limits, leave_out_forbidden
from edgeweave.partition.search.cp_model import Part, PlacementModel, Task, unit_of, whole
from edgeweave.partition.search.cp_schedule import add_schedule
from edgeweave.partition.search.cp_transfers import add_sends, add_transfers
from edgeweave.partition.search.reduction import identical_engines

ROUNDING = 1e-12
"""Relative error that a float sum of costs may have."""


def build(problem: Problem, task: Task, horizon: float, least: float = 0.0) -> PlacementModel:
    """The model of a task.

    ``horizon`` is at least, and ``least`` at most, the value of the best plan within limits, in the
    unit of the objective.
    """
    from ortools.sat.python import cp_model

    energy = task.objective is Objective.ENERGY
    longest = _time_horizon(problem, task) if energy else horizon
    p = PlacementModel(
        problem,
        task,
        second=unit_of(longest),
        joule=unit_of(horizon if energy else 1.0),
        model=cp_model.CpModel(),
        stage_parts=[[] for _ in range(task.max_stages)],
    )
    _add_stages(p)
    _add_regions(p)
    add_transfers(p)
    add_sends(p)
    _break_symmetry(p)
    add_limits(p)
    leave_out_forbidden(p)
    busy = [p.load(e) for e in range(len(problem.engines))]
    most = p.units(longest * (1 + TOLERANCE)) + 1
    latency: Any = add_schedule(p, most, busy) if task.needs_schedule else None
    if task.latency_limit_s is not None:
        p.model.add(latency <= p.units(task.latency_limit_s * (1 + TOLERANCE)))
    if task.interval_limit_s is not None:
        limit = task.interval_limit_s * (1 + TOLERANCE)
        _add_interval(p, busy, p.units(limit), limit)
    _minimise(p, _objective(p, busy, latency, horizon), least)
    return p


def _time_horizon(problem: Problem, task: Task) -> float:
    """Seconds that limits allow; without one, more than any plan takes."""
    worst = serial_worst(problem, task.max_stages)
    limits = (task.latency_limit_s, task.interval_limit_s)
    return max((min(x, worst) for x in limits if x is not None), default=worst)


def _objective(p: PlacementModel, busy: list[Any], latency: Any, horizon: float) -> Any:
    if p.task.objective is Objective.LATENCY:
        return latency
    most = whole(horizon * (1 + TOLERANCE), p.unit) + 1
    if p.task.objective is Objective.ENERGY:
        energy = p.model.new_int_var(0, most, "energy")
        p.model.add(energy >= p.energy())
        return energy
    interval = p.model.new_int_var(0, most, "interval")
    _add_interval(p, busy, interval, p.task.contended_at_s)
    return interval


def _add_interval(p: PlacementModel, busy: list[Any], interval: Any, at_s: float) -> None:
    """Every engine ends its work within the interval, slowed by the traffic at ``at_s``."""
    for engine, load in enumerate(busy):
        p.model.add(load <= interval)
        if p.problem.table.contention is not None and at_s < INFINITY:
            add_keeps_up(p, p.problem.table.contention, engine, interval, at_s)


def _minimise(p: PlacementModel, objective: Any, least: float) -> None:
    p.model.add(objective >= whole(least * (1 - ROUNDING), p.unit))
    p.model.minimize(objective)


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
        overheads = [Part(p.slot[k][s], s, p.problem.overhead[s]) for s in slots]
        p.parts += overheads
        p.stage_parts[k] += overheads


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
                p.stage_parts[k].append(Part(p.at[r, k, s], s, problem.seconds[r][s], r, r))
            here = sum(p.at[r, k, s] for s in takers)
            p.model.add(here == p.in_stage(r, k))
        for s in takers:
            p.on[r, s] = p.model.new_bool_var(f"on{r}_{s}")
            p.model.add(p.on[r, s] == sum(p.at[r, k, s] for k in p.stages))
            p.parts.append(Part(p.on[r, s], s, problem.seconds[r][s], r, r))
        p.model.add_exactly_one(p.on[r, s] for s in takers)
    for a, b in problem.edges:
        for k in range(last):
            p.model.add_implication(p.by_stage[b][k], p.by_stage[a][k])


def _break_symmetry(p: PlacementModel) -> None:
    """Of identical engines, a later one is not used before the one in front of it is."""
    for group in identical_engines(p.problem):
        for ahead, behind in pairwise(group):
            for k in p.stages:
                earlier = sum(p.slot[i][s] for i in range(k) for s in p.problem.slots_of(ahead))
                for s in p.problem.slots_of(behind):
                    p.model.add(p.slot[k][s] <= earlier)
