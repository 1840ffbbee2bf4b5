"""The plan: stages in order, what they are predicted to take, and how good that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgeweave.partition.costs import Source
from edgeweave.targets.backend import Slot


class Objective(StrEnum):
    """What the solver minimises."""

    LATENCY = "latency"
    INTERVAL = "interval"
    ENERGY = "energy"

    @property
    def unit(self) -> str:
        """``s``, or ``J`` for the energy of a frame."""
        return "J" if self is Objective.ENERGY else "s"


@dataclass(frozen=True)
class Request:
    """What is asked of a plan.

    ``budget_s`` bounds the latency of one frame on an idle board; ``max_interval_s`` bounds the
    time between frames (1/fps). ``time_limit_s`` bounds the search; the best plan so far and a
    proven bound are returned when it ends.
    """

    objective: Objective = Objective.LATENCY
    budget_s: float | None = None
    max_interval_s: float | None = None
    max_stages: int = 4
    time_limit_s: float = 20.0


@dataclass(frozen=True)
class Stage:
    """A convex set of regions on one slot, run as one unit.

    ``compute_s`` is the sum of its regions plus the slot's overhead per stage, ``transfer_s`` what
    it pays to receive its inputs. ``start_s`` and ``end_s`` place it in one frame on an idle board.
    ``sources`` counts its regions' costs by where they come from.
    """

    index: int
    slot: Slot
    regions: tuple[int, ...]
    compute_s: float
    transfer_s: float
    start_s: float
    end_s: float
    sources: dict[Source, int]

    @property
    def name(self) -> str:
        """``s0-cpu0-onnxruntime``."""
        return f"s{self.index}-{self.slot.engine}-{self.slot.backend}"


@dataclass(frozen=True)
class Certificate:
    """The proof of quality of a plan.

    ``value`` is the plan's value of the objective, ``bound`` a proven lower bound over the class of
    plans that ``scope`` names, both in the objective's unit; ``gap`` is (value - bound) / value.
    """

    objective: Objective
    value: float
    bound: float
    optimal: bool
    scope: str
    solver: str
    wall_s: float

    @property
    def gap(self) -> float:
        """Relative distance between plan and bound; 0 is proven optimal."""
        return max(0.0, 1 - self.bound / self.value) if self.value > 0 else 0.0


@dataclass(frozen=True)
class Baseline:
    """What another method would have planned on the same table; None where it finds no plan."""

    name: str
    latency_s: float | None
    interval_s: float | None
    energy_j: float | None = None
    stages: int | None = None


@dataclass(frozen=True)
class Alternative:
    """Why a region is not on a slot: refused by a rule, or lost on the objective."""

    slot: Slot
    verdict: str  # "refused" or "lost"
    rule: str  # the rule id when refused, "" when lost
    reason: str


@dataclass(frozen=True)
class Placement:
    """Where one region went, what it is predicted to take there, and why nowhere else."""

    region: str
    slot: Slot
    stage: int
    seconds: float
    source: Source
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Plan:
    """Assignment, order, predicted numbers and their proof.

    ``meets`` is False when no plan within the certificate's scope meets the request; the plan is
    then the best found, and ``shortfall`` says in sentences what would have to change.
    """

    board: str
    request: Request
    stages: tuple[Stage, ...]
    placements: tuple[Placement, ...]
    latency_s: float
    interval_s: float
    interval_limit: str  # which engine, or the shared memory, sets the interval
    energy_j: float | None  # what the engines draw for one frame; None where powers are not stated
    certificate: Certificate
    baselines: tuple[Baseline, ...]
    meets: bool
    shortfall: tuple[str, ...]
