"""The variables of the integer program that places regions, and its units.

Costs are rounded down to whole units, so every real plan is a solution of the program with a value
that is not above its real one: what CP-SAT proves about the program holds for the plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import floor, frexp
from typing import TYPE_CHECKING, Any

from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

RESOLUTION = 2.0**30
"""Units the largest modelled quantity is divided into: a rounding error of 1e-9 per cost."""

MOST_UNITS = 2**31
"""No single cost counts more: a plan that holds one is beyond the horizon as it is."""


@dataclass(frozen=True)
class Task:
    """What to minimise, under which limits, with at most how many stages.

    ``contended_at_s``: where engines slow each other down, the traffic an engine meets is what the
    others move within this interval (infinite: none). The largest load is then a lower bound on
    the intervals of all plans whose interval is not longer. ``forbidden`` are plans to leave out.
    """

    objective: Objective
    max_stages: int
    latency_limit_s: float | None = None
    interval_limit_s: float | None = None
    contended_at_s: float = float("inf")
    forbidden: tuple[Stages, ...] = ()

    @property
    def needs_schedule(self) -> bool:
        """Whether start times matter; interval and energy alone are sums."""
        return self.objective is Objective.LATENCY or self.latency_limit_s is not None


@dataclass(frozen=True)
class Part:
    """Seconds on a slot that a plan has when ``var`` is 1.

    ``first`` and ``last``: the part lies behind whatever must end before all of the regions from
    first to last start, and before whatever starts after they have ended; None: anywhere.
    """

    var: cp_model.IntVar
    slot: int
    seconds: float
    first: int | None = None
    last: int | None = None

    def lies_in(self, regions: range) -> bool:
        """Whether it takes place while these regions and nothing else can be at work."""
        return self.first in regions and self.last in regions


@dataclass
class PlacementModel:
    """The program and its variables; see ``docs/placement.md`` for the formulation.

    ``by_stage[r][k]``: region r stands in stage k or an earlier one. ``slot[k][s]``: stage k is on
    slot s (none: stage unused). ``at[r,k,s]``: region r in stage k on slot s. ``on[r,s]``: region r
    on slot s. ``pays[i,k,s]``: (sources, variable) for each price at which stage k on slot s can
    receive value i. ``sends[i,a]``: (readers' slots, variable) for each price at which slot a can
    send value i, rising; each variable stands for what the price adds to the one before it, and
    ``sends_in[i,k,a]`` are the same in stage k. ``before[i,k]``: stage i must end before stage k
    starts. ``parts`` is what slots take in total, ``stage_parts[k]`` what stage k takes.
    """

    problem: Problem
    task: Task
    second: float  # seconds per unit of time
    joule: float  # joules per unit of energy
    model: cp_model.CpModel
    by_stage: list[list[cp_model.IntVar]] = field(default_factory=list)
    slot: list[list[cp_model.IntVar]] = field(default_factory=list)
    at: dict[tuple[int, int, int], cp_model.IntVar] = field(default_factory=dict)
    on: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    pays: dict[tuple[int, int, int], list[tuple[tuple[int, ...], cp_model.IntVar]]] = field(
        default_factory=dict
    )
    sends: dict[tuple[int, int], list[tuple[tuple[int, ...], cp_model.IntVar]]] = field(
        default_factory=dict
    )
    sends_in: dict[tuple[int, int, int], list[cp_model.IntVar]] = field(default_factory=dict)
    before: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    stage_parts: list[list[Part]] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """Seconds or joules per unit of the objective."""
        return self.joule if self.task.objective is Objective.ENERGY else self.second

    @property
    def stages(self) -> range:
        """The stage indices."""
        return range(self.task.max_stages)

    def units(self, seconds: float) -> int:
        """Whole units of time, rounded down."""
        return whole(seconds, self.second)

    def time(self, parts: Iterable[Part]) -> Any:
        """Units of time of some parts."""
        return sum(self.units(part.seconds) * part.var for part in parts)

    def load(self, engine: int, between: range | None = None) -> Any:
        """Units of time the engine is busy; with those regions only, or with all there is."""
        own = (p for p in self.parts if self.problem.engine_of[p.slot] == engine)
        return self.time(part for part in own if between is None or part.lies_in(between))

    def energy(self) -> Any:
        """Units of energy of the whole plan; a slot without a stated power counts as 0."""
        watts = [power or 0.0 for power in self.problem.power]
        return sum(
            whole(part.seconds * watts[part.slot], self.joule) * part.var for part in self.parts
        )

    def takers(self, region: int) -> list[int]:
        """The slots that take the region."""
        return [s for s in range(self.problem.width) if (region, s) in self.on]

    def on_any(self, region: int, slots: Sequence[int]) -> Any:
        """1 when the region is on one of the slots."""
        return sum(self.on[region, s] for s in slots if (region, s) in self.on)

    def in_stage(self, region: int, stage: int) -> Any:
        """1 when the region stands in the stage, from the order encoding."""
        by = self.by_stage[region]
        upper = by[stage] if stage < len(by) else 1
        return upper - by[stage - 1] if stage > 0 else upper


def unit_of(horizon: float) -> float:
    """The unit for quantities up to a horizon: a power of two, so dividing by it is exact."""
    return float(2.0 ** (frexp(max(horizon, 1e-12))[1]) / RESOLUTION)


def whole(quantity: float, unit: float) -> int:
    """Whole units, rounded down."""
    return min(floor(quantity / unit), MOST_UNITS)
