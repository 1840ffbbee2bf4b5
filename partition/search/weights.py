"""The best weights of the engines for a bound on their largest load.

For weights that add up to 1, the weighted sum of the loads is at most the largest load. What is
known of the least weighted sum after some trials is a piecewise linear function of the weights; its
maximum is a linear program (Kelley, "The cutting-plane method for solving convex programs", 1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Best:
    """The weights with the highest bound as far as the trials tell.

    ``most_s`` is that bound: no weights prove more. ``shares[i]`` is how much of trial i the
    mixture of trials holds that has ``most_s`` as its largest load.
    """

    most_s: float
    weights: tuple[float, ...]
    shares: tuple[float, ...]


def best_weights(engines: Sequence[int], loads: Sequence[Sequence[float]]) -> Best:
    """The best weights of these engines (of others 0), from the engines' loads in each trial."""
    from ortools.linear_solver import pywraplp

    unit = max(float(max(trial)) for trial in loads) or 1.0
    solver = pywraplp.Solver.CreateSolver("GLOP")
    bound = solver.NumVar(-solver.infinity(), solver.infinity(), "bound")
    weight = {e: solver.NumVar(0.0, 1.0, f"weight{e}") for e in engines}
    solver.Add(sum(weight.values()) == 1)
    rows = [
        solver.Add(bound - sum(float(trial[e]) / unit * weight[e] for e in engines) <= 0)
        for trial in loads
    ]
    solver.Maximize(bound)
    if solver.Solve() != solver.OPTIMAL:
        even = [1.0] * len(loads[0])
        return Best(0.0, normalised(engines, even), (1 / len(loads),) * len(loads))
    shares = [max(0.0, row.dual_value()) for row in rows]
    total = sum(shares) or 1.0
    values = {e: min(1.0, max(0.0, weight[e].solution_value())) for e in engines}
    return Best(
        bound.solution_value() * unit,
        normalised(engines, [values.get(e, 0.0) for e in range(len(loads[0]))]),
        tuple(share / total for share in shares),
    )


def normalised(engines: Sequence[int], weights: Sequence[float]) -> tuple[float, ...]:
    """The weights of these engines alone, adding up to 1; even ones where all are 0."""
    total = sum(weights[e] for e in engines)
    even = 1 / len(engines)
    return tuple(
        0.0 if e not in engines else (weights[e] / total if total > 0 else even)
        for e in range(len(weights))
    )
