"""Stages in time, in the integer program."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from edgeweave.partition.search.cp_model import PlacementModel
from edgeweave.partition.search.cp_relaxation import add_region_times

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


def add_schedule(p: PlacementModel, horizon: int, busy: list[Any]) -> cp_model.IntVar:
    """Start and end per stage, as if no stage slowed another down; returns the latency."""
    problem = p.problem
    latency = p.model.new_int_var(0, horizon, "latency")
    starts = [p.model.new_int_var(0, horizon, f"start{k}") for k in p.stages]
    ends = [p.model.new_int_var(0, horizon, f"end{k}") for k in p.stages]
    for k in p.stages:
        p.model.add(ends[k] >= starts[k] + p.time(p.stage_parts[k]))
        p.model.add(latency >= ends[k])
    for i, k in combinations(p.stages, 2):
        p.before[i, k] = p.model.new_bool_var(f"before{i}_{k}")
        p.model.add(starts[k] >= ends[i]).only_enforce_if(p.before[i, k])
        for engine in range(len(problem.engines)):
            slots = problem.slots_of(engine)
            both = [sum(p.slot[j][s] for s in slots) for j in (i, k)]
            p.model.add(p.before[i, k] >= sum(both) - 1)
        for a, b in problem.edges:
            p.model.add(p.before[i, k] >= p.in_stage(a, i) + p.in_stage(b, k) - 1)
    for load in busy:
        p.model.add(latency >= load)
    add_region_times(p, latency, horizon)
    return latency
