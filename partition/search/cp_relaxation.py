"""Redundant constraints that make the bound on latency strong.

Run the regions of each stage one by one in topological order, each value received just before its
first reader and sent just after its producer: the result is a schedule of regions that takes no
longer than the plan. So the latency is not below any bound on schedules of regions, which need no
big constants and no choice of stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeweave.partition.search.bounds import cut_regions
from edgeweave.partition.search.cp_model import PlacementModel

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


def add_region_times(p: PlacementModel, latency: cp_model.IntVar, horizon: int) -> None:
    """Earliest ends of regions along edges, and the load of each engine between cut regions."""
    problem = p.problem
    ends = [p.model.new_int_var(0, horizon, f"done{r}") for r in range(problem.size)]
    handing = _handing(p)
    for r in range(problem.size):
        work = sum(p.units(problem.seconds[r][s]) * p.on[r, s] for s in p.takers(r))
        p.model.add(ends[r] >= work)
        if not problem.successors[r]:
            p.model.add(latency >= ends[r])
        for i in problem.inputs[r]:
            value = problem.values[i]
            if value.feedback:
                continue
            # With several readers the price may be paid once for all, before another of them.
            price = handing.get(i, 0) if len(value.consumers) == 1 else 0
            p.model.add(ends[r] >= ends[value.producer] + work + price)
    cuts = cut_regions(problem)
    zones = zip([-1, *cuts], [*cuts, problem.size - 1], strict=True)
    for opening, closing in zones:
        if closing - opening < 2:
            continue
        start = ends[opening] if opening >= 0 else 0
        end = ends[closing] if closing in cuts else latency
        for engine in range(len(problem.engines)):
            p.model.add(end >= start + p.load(engine, range(opening + 1, closing + 1)))


def _handing(p: PlacementModel) -> dict[int, Any]:
    """For each value the units of time that handing it over takes on both sides."""
    seconds = {part.var.index: p.units(part.seconds) for part in p.parts}
    found: dict[int, Any] = {}
    for (i, _, _), options in p.pays.items():
        for _, var in options:
            found[i] = found.get(i, 0) + seconds[var.index] * var
    for (i, _), levels in p.sends.items():
        for _, var in levels:
            found[i] = found.get(i, 0) + seconds[var.index] * var
    return found
