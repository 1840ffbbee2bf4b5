"""Planning several models for one board that share its engines, each with its own budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.portfolio import PROVEN
from edgeweave.partition.several.joint import Board, Candidate, ModelRequest
from edgeweave.partition.several.joint_candidates import Pool, gather, load_bound
from edgeweave.partition.several.joint_plan import (
    EngineUse,
    JointBaseline,
    JointCertificate,
    JointPlan,
    ModelPlan,
)
from edgeweave.partition.several.joint_search import Choice, choose, improve
from edgeweave.partition.several.joint_shortfall import joint_shortfall
from edgeweave.partition.several.same_slots import share_slots

GATHER_SHARE, CHOOSE_SHARE = 0.5, 0.7
"""Parts of the time limit that have passed when candidates are gathered, and when one is chosen."""

LEAST_CHOOSE_SHARE = 0.05
"""Part of the time limit that choosing gets at least."""

RESPONSE = "largest response over its budget"
LOAD = "largest load of an engine or the memory"


def coschedule(
    models: Sequence[ModelRequest], board: str, max_stages: int = 4, time_limit_s: float = 20.0
) -> JointPlan:
    """A plan for each model so that together they keep their budgets, or come closest.

    Every engine runs one stage at a time and finishes what it began; the model with the shorter
    budget goes first. The largest response over its budget is minimised, of equals the load of the
    fullest engine; without budgets the load alone. Never worse than any of the baselines. Raises
    PartitionError when names or slots do not fit together, a model has no plan, or the engines
    cannot keep what all models keep on them.
    """
    started = perf_counter()
    _check(models, max_stages, time_limit_s)
    shared = Board(share_slots(models))
    pool = gather(shared, max_stages, GATHER_SHARE * time_limit_s)
    rows = {name: Choice(tuple(row), shared.assess(row)) for name, row in pool.rows.items()}
    best = min(rows.values(), key=lambda choice: choice.assessment.key)
    # what was gathered late is worth a look as well
    soon = perf_counter() + LEAST_CHOOSE_SHARE * time_limit_s
    best, exhausted = choose(pool, best, max(soon, started + CHOOSE_SHARE * time_limit_s))
    counts = tuple(map(len, pool.plans))
    best = improve(pool, best, started + time_limit_s)
    if best.assessment.full is not None:
        raise PartitionError(
            f"engine {best.assessment.full}",
            "it cannot keep what the models keep on it together, in any choice that was found",
            "Plan fewer models for the board, or one with more memory",
        )
    return _assemble(pool, rows, best, board, exhausted, counts, started)


def _check(models: Sequence[ModelRequest], max_stages: int, time_limit_s: float) -> None:
    if not models:
        raise PartitionError("request", "it has no model", "Give at least one")
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise PartitionError(f"model {name}", "two models have this name", "Give each its own")
    if max_stages < 1:
        raise PartitionError("request", f"a plan of {max_stages} stages holds nothing")
    if not 0 < time_limit_s < INFINITY:
        raise PartitionError(
            "request", f"the time limit of {time_limit_s} s is not a positive duration"
        )


def _assemble(
    pool: Pool,
    rows: dict[str, Choice],
    best: Choice,
    name: str,
    exhausted: bool,
    counts: tuple[int, ...],
    started: float,
) -> JointPlan:
    board, found = pool.board, best.assessment
    certificate = _certify(pool, best, exhausted, counts, started)
    return JointPlan(
        board=name,
        models=tuple(
            _model_plan(pool, m, plan, found.responses[m]) for m, plan in enumerate(best.plans)
        ),
        engines=tuple(_engine_use(board, e, best) for e in range(len(board.engines))),
        memory=found.memory,
        rated=board.is_rated,
        memory_model=memory_model(board),
        certificate=certificate,
        baselines=tuple(_baseline(board, row, choice) for row, choice in rows.items()),
        meets=found.feasible,
        shortfall=() if found.feasible else joint_shortfall(board, best, certificate),
    )


def _certify(
    pool: Pool, best: Choice, exhausted: bool, counts: tuple[int, ...], started: float
) -> JointCertificate:
    """What is proven: no response is below the latency alone, no load below that of its spread."""
    board, found = pool.board, best.assessment
    least_load = load_bound(pool)
    pairs = zip(board.models, pool.latency, strict=True)
    ratios = [proof.bound / m.budget_s for m, proof in pairs if m.budget_s is not None]
    value = found.worst if board.has_budgets else found.utilisation
    bound = min(value, max(ratios) if ratios else least_load)
    return JointCertificate(
        measure=RESPONSE if board.has_budgets else LOAD,
        value=finite(value),
        bound=bound,
        load=found.utilisation,
        load_bound=min(least_load, found.utilisation),
        optimal=bound >= value * (1 - PROVEN),
        infeasible=board.is_rated and max(bound if ratios else 0.0, least_load) > 1 + PROVEN,
        exhausted=exhausted,
        candidates=counts,
        scope=f"convex stages in one order, at most {pool.max_stages} stages a model, "
        "these cost tables, any order of work on the engines",
        wall_s=perf_counter() - started,
    )


def _model_plan(pool: Pool, m: int, plan: Candidate, response: float) -> ModelPlan:
    model = pool.board.models[m]
    is_met = model.budget_s is None or response <= model.budget_s * (1 + PROVEN)
    return ModelPlan(
        name=model.name,
        budget_s=model.budget_s,
        fps=model.fps,
        period_s=model.period_s,
        assumed=_assumed(model),
        priority=pool.board.priorities.index(m) + 1,
        origin=plan.origin,
        stages=plan.stages,
        slots={
            model.table.regions[region]: str(stage.slot)
            for stage in plan.stages
            for region in stage.regions
        },
        latency_s=plan.schedule.latency_s,
        response_s=finite(response),
        queue_depth=queue_depth(model, response),
        latency_bound_s=pool.latency[m].bound,
        meets=is_met and (response < INFINITY or model.period_s is None),
    )


def _assumed(model: ModelRequest) -> str:
    if model.fps is not None:
        return ""
    if model.budget_s is not None:
        return "no rate is given: at most one frame per budget"
    return "no rate is given: a frame starts when the one before it has ended"


def queue_depth(model: ModelRequest, response: float) -> int | None:
    """Frames in flight that suffice for the response; None where it has no bound."""
    if model.period_s is None:
        return 1
    return None if response == INFINITY else math.ceil(response / model.period_s) + 1


def finite(seconds: float) -> float | None:
    """The number, or None where it is infinite."""
    return None if seconds == INFINITY else seconds


def memory_model(board: Board) -> str:
    """How the engines share the memory, in words."""
    law = board.contention
    if law is None:
        return "no traffic is stated, so engines do not slow each other down"
    knee = law.knee_bytes_per_s / 1e9
    if all(model.table.contention is None for model in board.models):
        return f"shared fairly above its bandwidth of {knee:g} GB/s"
    return f"slows engines down above {knee:g} GB/s, slope {law.slope:g}"


def _engine_use(board: Board, e: int, best: Choice) -> EngineUse:
    busy = best.assessment.busy[e]
    limit = board.capacity[e]
    return EngineUse(
        engine=board.engines[e],
        busy={model.name: share for model, share in zip(board.models, busy, strict=True)},
        total=sum(busy),
        kept_bytes=sum(plan.kept_bytes[e] for plan in best.plans),
        capacity_bytes=None if limit == INFINITY else int(limit),
    )


def _baseline(board: Board, name: str, choice: Choice) -> JointBaseline:
    found = choice.assessment
    return JointBaseline(
        name=name,
        value=finite(found.worst if board.has_budgets else found.utilisation),
        load=found.utilisation,
        responses_s=tuple(map(finite, found.responses)),
        meets=found.feasible,
    )
