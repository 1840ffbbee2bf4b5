"""Redundant constraints that make the bound on latency strong.

Run the regions of each stage one by one in topological order, each transfer just before its first
reader: the result is a schedule of regions that takes no longer than the plan. So the latency is
not below any bound on schedules of regions, which need no big constants and no choice of stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeweave.partition.bounds import cut_regions
from edgeweave.partition.cp_model import PlacementModel, engine_load, payments

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


def add_region_times(p: PlacementModel, latency: cp_model.IntVar, horizon: int) -> None:
    """Earliest ends of regions along edges, and the load of each engine between cut regions."""
    problem = p.problem
    ends = [p.model.new_int_var(0, horizon, f"done{r}") for r in range(problem.size)]
    for r in range(problem.size):
        work = _work(p, r)
        p.model.add(ends[r] >= work)
        if not problem.successors[r]:
            p.model.add(latency >= ends[r])
        for i in problem.inputs[r]:
            value = problem.values[i]
            # With several readers the price may be paid once for all, before another of them.
            price = _price(p, i) if len(value.consumers) == 1 else 0
            p.model.add(ends[r] >= ends[value.producer] + work + price)
    cuts = cut_regions(problem)
    zones = zip([-1, *cuts], [*cuts, problem.size - 1], strict=True)
    for opening, closing in zones:
        if closing - opening < 2:
            continue
        start = ends[opening] if opening >= 0 else 0
        end = ends[closing] if closing in cuts else latency
        for engine in range(len(problem.engines)):
            load = engine_load(p, engine, range(opening + 1, closing + 1))
            p.model.add(end >= start + load)


def _work(p: PlacementModel, region: int) -> Any:
    seconds = p.problem.seconds[region]
    slots = [s for s in range(p.problem.width) if (region, s) in p.on]
    return sum(p.units(seconds[s]) * p.on[region, s] for s in slots)


def _price(p: PlacementModel, value: int) -> Any:
    slots = range(p.problem.width)
    return sum(units * pay for s in slots for pay, units in payments(p, value, s))
