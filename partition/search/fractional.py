"""The least largest load when regions may be split between engines, whatever their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.weights import best_weights

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

ROUNDS = 200
CLOSE = 1e-12


@dataclass(frozen=True)
class Shares:
    """How well the engines can share the work.

    ``bound_s``: no plan has a smaller largest load. ``weights[e]`` are the engines' weights that
    prove it, adding up to 1: the weighted sum of the loads of any plan is at least ``bound_s``.
    """

    bound_s: float
    weights: tuple[float, ...]


def share_work(problem: Problem) -> Shares:
    """Spread the regions' work over the engines, ignoring order, transfers and whole regions.

    With given weights each region costs least on one engine, and the sum of these is a bound; the
    best weights are found by cutting planes. Some slot must take each region.
    """
    fastest = _fastest(problem)
    engines = range(len(problem.engines))
    groups = _groups(problem)
    weights = (1 / len(engines),) * len(engines)
    best = Shares(0.0, weights)
    trials: list[tuple[float, ...]] = []
    for _ in range(ROUNDS):
        value, loads = _cheapest(fastest, weights)
        if value > best.bound_s or not trials:
            best = Shares(value, weights)
        loads = _averaged(loads, groups)
        if loads in trials:
            break
        trials.append(loads)
        found = best_weights(engines, trials)
        if found.most_s - best.bound_s <= CLOSE * found.most_s:
            break
        weights = _averaged(found.weights, groups)
    return best


def _fastest(problem: Problem) -> Array:
    """Seconds of each region on each engine, by the engine's fastest slot: ``[region, engine]``."""
    import numpy as np

    seconds = np.array(problem.seconds)
    own = [problem.slots_of(e) for e in range(len(problem.engines))]
    return np.stack([seconds[:, list(slots)].min(axis=1) for slots in own], axis=1)


def _cheapest(fastest: Array, weights: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
    """The least weighted sum, and the loads of the engines that have it."""
    import numpy as np

    taken = np.isfinite(fastest)
    seconds = np.where(taken, fastest, 0.0)
    weighted = np.where(taken, seconds * np.array(weights), INFINITY)
    chosen = weighted.argmin(axis=1)
    own = seconds[np.arange(len(seconds)), chosen]
    loads = np.bincount(chosen, own, len(weights))
    return float(weighted.min(axis=1).sum()), tuple(float(load) for load in loads)


def _groups(problem: Problem) -> tuple[tuple[int, ...], ...]:
    from edgeweave.partition.search.reduction import identical_engines

    return identical_engines(problem)


def _averaged(values: tuple[float, ...], groups: tuple[tuple[int, ...], ...]) -> tuple[float, ...]:
    """Engines that may change places get the mean of their values; the bound stays as good."""
    even = list(values)
    for group in groups:
        mean = sum(values[e] for e in group) / len(group)
        for e in group:
            even[e] = mean
    return tuple(even)
