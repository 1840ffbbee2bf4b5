"""What would have to change when models that share a board miss what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from edgeweave.partition.contention import SHARED_MEMORY
from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import TOLERANCE
from edgeweave.partition.several.joint import Assessment, Board
from edgeweave.partition.several.joint_plan import JointCertificate
from edgeweave.partition.several.joint_search import Choice

_STEPS = 30  # of bisection on a rate
_SLOWEST = 1e-3  # times the rate that is asked for: below it no advice is of use
_MARGIN = 1 - 1e-3  # so that a rate still does when it is written with few digits


def joint_shortfall(board: Board, choice: Choice, proof: JointCertificate) -> tuple[str, ...]:
    """Sentences: what is missed and by how much, by what it is limited, what would do instead."""
    return (
        *_misses(board, choice.assessment),
        _critical(board, choice.assessment),
        *_slower(board, choice),
        _verdict(board, choice.assessment, proof),
    )


def _misses(board: Board, found: Assessment) -> Iterator[str]:
    for model, response in zip(board.models, found.responses, strict=True):
        budget = model.budget_s
        if response == INFINITY and model.period_s is not None:
            yield (
                f"{model.name}: no bound on its response was found, as frames may arrive faster "
                "than the engines can do them after all that goes first."
            )
        elif budget is not None and response > budget * (1 + TOLERANCE):
            yield (
                f"{model.name}: its response of up to {_ms(response)} is {_ms(response - budget)} "
                f"over its budget of {budget * 1e3:g} ms; with this plan, a budget of "
                f"{_ms(response)} would do."
            )


def _critical(board: Board, found: Assessment) -> str:
    loads = [sum(busy) for busy in found.busy]
    e = max(range(len(loads)), key=loads.__getitem__)
    if found.memory > loads[e]:
        return f"Critical is the {SHARED_MEMORY}: {found.memory:.0%} of its time is asked for."
    parts = ", ".join(
        f"{model.name} {share:.0%}"
        for model, share in zip(board.models, found.busy[e], strict=True)
        if share > 0
    )
    return (
        f"Critical is engine {board.engines[e]}: {loads[e]:.0%} of its time is asked for ({parts})."
    )


def _slower(board: Board, choice: Choice) -> Iterator[str]:
    """The highest rate of one model at which these plans do, and that of all by one factor."""
    rated = [m for m, model in enumerate(board.models) if model.fps is not None]
    done = False
    for m in rated:
        factor = _fastest(board, choice, [m])
        if factor is not None:
            done = True
            name, fps = board.models[m].name, board.models[m].fps or 0.0
            yield f"With this plan, --fps {name}={_down(fps * factor)} would do instead of {fps:g}."
    if done or len(rated) < 2:
        return
    factor = _fastest(board, choice, rated)
    if factor is not None:
        yield f"With this plan, all rates at {factor:.1%} of what is asked for would do."


def _fastest(board: Board, choice: Choice, models: Sequence[int]) -> float | None:
    """The largest factor on the rates of these models with which the plans do, or None."""

    def meets(factor: float) -> bool:
        changed = tuple(
            replace(model, fps=model.fps * factor) if m in models and model.fps else model
            for m, model in enumerate(board.models)
        )
        plans = [
            replace(plan, flow=replace(plan.flow, period_s=model.period_s))
            for plan, model in zip(choice.plans, changed, strict=True)
        ]
        return Board(changed).assess(plans).feasible

    low, high = _SLOWEST, 1.0
    if not meets(low):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    slower = low * _MARGIN
    return slower if meets(slower) else None


def _verdict(board: Board, found: Assessment, proof: JointCertificate) -> str:
    if not proof.infeasible:
        return "No plan that does was found; none is ruled out by what is proven."
    if proof.load_bound > 1:
        return (
            f"No plan does: the engines and the memory are asked for at least "
            f"{proof.load_bound:.0%} of their time, however the work is spread."
        )
    return (
        f"No plan does: a latency on an idle board is at least {proof.bound:.3g} times the budget."
    )


def _ms(seconds: float) -> str:
    """Three digits, rounded up: as a budget it still does."""
    return f"{_digits(seconds * 1e3, ROUND_CEILING)} ms"


def _down(rate: float) -> str:
    return _digits(rate, ROUND_FLOOR)


def _digits(value: float, rounding: str) -> str:
    return f"{Context(prec=3, rounding=rounding).create_decimal_from_float(value).normalize():f}"
