"""The plan of several models on one board: a plan for each, what they share, and how good that is.

All durations are in seconds. ``asdict`` of each makes its JSON data, where an unbounded response is
None.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeweave.partition.plan import Stage


@dataclass(frozen=True)
class ModelPlan:
    """One model's part.

    ``priority`` is 1 for the model that goes first on every engine. ``period_s`` is the least time
    between two frames; ``assumed`` says what was assumed where no rate is given. ``latency_s`` is
    that of one frame on an idle board, ``response_s`` a bound on that of any frame beside the other
    models (None: no bound was found). ``queue_depth`` frames in flight are enough for it.
    ``latency_bound_s`` is what no plan of the model has a smaller latency than.
    """

    name: str
    budget_s: float | None
    fps: float | None
    period_s: float | None
    assumed: str
    priority: int
    origin: str
    stages: tuple[Stage, ...]
    slots: dict[str, str]
    latency_s: float
    response_s: float | None
    queue_depth: int | None
    latency_bound_s: float
    meets: bool


@dataclass(frozen=True)
class EngineUse:
    """What the models take of an engine: the share of its time, and bytes kept on it.

    Where no model has a period, ``busy`` is seconds for one frame of each instead.
    """

    engine: str
    busy: dict[str, float]
    total: float
    kept_bytes: int
    capacity_bytes: int | None


@dataclass(frozen=True)
class JointCertificate:
    """The proof of quality.

    ``value`` is the plan's and ``bound`` what no plan is below, of ``measure``: the largest
    response over its budget, or the largest load without budgets. ``load`` and ``load_bound`` are
    the same of the fullest engine or memory. ``exhausted``: of all combinations of ``candidates``
    none is better.
    """

    measure: str
    value: float | None
    bound: float
    load: float
    load_bound: float
    optimal: bool
    infeasible: bool
    exhausted: bool
    candidates: tuple[int, ...]
    scope: str
    wall_s: float


@dataclass(frozen=True)
class JointBaseline:
    """Another way to choose plans for all models; ``value`` None is unbounded."""

    name: str
    value: float | None
    load: float
    responses_s: tuple[float | None, ...]
    meets: bool


@dataclass(frozen=True)
class JointPlan:
    """Plans of all models for one board, and their proof.

    ``rated`` is False when no model has a period; loads are then seconds for one frame of each.
    ``memory`` is the share of the shared memory's time. ``shortfall`` says in sentences what would
    have to change when ``meets`` is False.
    """

    board: str
    models: tuple[ModelPlan, ...]
    engines: tuple[EngineUse, ...]
    memory: float
    rated: bool
    memory_model: str
    certificate: JointCertificate
    baselines: tuple[JointBaseline, ...]
    meets: bool
    shortfall: tuple[str, ...]
