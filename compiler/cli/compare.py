"""A plan beside what other methods make of the same costs, and beside what is proven possible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeweave.compiler.cli.text import DASH, digits, duration, table
from edgeweave.partition.plan import Baseline, Objective, Plan
from edgeweave.partition.portfolio import within

OURS = "this plan"
BOUND = "lower bound"


def comparison(plan: Plan) -> list[dict[str, Any]]:
    """Each method with its numbers as JSON data, None where it has none.

    ``ratio`` is its value of the objective over this plan's; ``meets`` is whether it keeps the
    request's limits. The last row is the bound, which has a value of the objective alone.
    """
    ours = Baseline(OURS, plan.latency_s, plan.interval_s, plan.energy_j, len(plan.stages))
    objective, bound = plan.certificate.objective, plan.certificate.bound
    least = Baseline(
        BOUND,
        bound if objective is Objective.LATENCY else None,
        bound if objective is Objective.INTERVAL else None,
        bound if objective is Objective.ENERGY else None,
    )
    return [_row(plan, method) for method in (*plan.baselines, ours, least)]


def _row(plan: Plan, method: Baseline) -> dict[str, Any]:
    value, whole = _value(method, plan.certificate.objective), plan.certificate.value
    return {
        "method": method.name,
        "latency_s": method.latency_s,
        "interval_s": method.interval_s,
        "energy_j": method.energy_j,
        "stages": method.stages,
        "ratio": None if value is None or not whole > 0 else value / whole,
        "meets": _meets(plan, method),
    }


def _value(method: Baseline, objective: Objective) -> float | None:
    values = {
        Objective.LATENCY: method.latency_s,
        Objective.INTERVAL: method.interval_s,
        Objective.ENERGY: method.energy_j,
    }
    return values[objective]


def _meets(plan: Plan, method: Baseline) -> bool | None:
    if method.latency_s is None or method.interval_s is None:
        return None
    request = plan.request
    return within(method.latency_s, request.budget_s) and within(
        method.interval_s, request.max_interval_s
    )


def show_comparison(plan: Plan) -> Iterator[str]:
    """The comparison as a table; energy only where it is known."""
    rows = comparison(plan)
    with_energy = any(row["energy_j"] is not None for row in rows)
    objective = plan.certificate.objective
    yield f"what other methods make of the same costs, predicted; ratio of the {objective}"
    headers = ["method", "latency", "interval", "energy", "stages", "ratio", ""]
    cells = [
        [
            row["method"],
            duration(row["latency_s"]),
            duration(row["interval_s"]),
            energy(row["energy_j"]),
            DASH if row["stages"] is None else str(row["stages"]),
            DASH if row["ratio"] is None else f"{row['ratio']:.3f}",
            _remark(row),
        ]
        for row in rows
    ]
    if not with_energy:
        headers, cells = _without(headers, 3), [_without(line, 3) for line in cells]
    yield from table(headers, cells)


def _remark(row: dict[str, Any]) -> str:
    if row["method"] == BOUND:
        return ""
    if row["meets"] is None:
        return "finds no plan"
    return "" if row["meets"] else "misses the request"


def _without(cells: list[str], column: int) -> list[str]:
    return cells[:column] + cells[column + 1 :]


def amount(value: float, objective: Objective) -> str:
    """A value of the objective with its unit."""
    return energy(value) if objective is Objective.ENERGY else duration(value)


def energy(joules: float | None) -> str:
    """``12.3 mJ``: three significant digits or whole numbers; a dash for None."""
    if joules is None:
        return DASH
    for unit, scale in (("uJ", 1e6), ("mJ", 1e3)):
        if 0 < joules * scale < 999.5:
            return f"{digits(joules * scale)} {unit}"
    return f"{digits(joules)} J" if joules else "0 mJ"
