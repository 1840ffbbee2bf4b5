"""How small the largest load can be on a given sequence of slots: the Lagrangian dual.

For any weights of the engines that add up to 1, the weighted sum of the loads is at most the
largest load, and the least weighted sum is a minimum cut (``labelling``). The best weights come
from ``weights``. Where the objective is itself a weighted sum (energy), its weights are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.search.labelling import Arrays, Domain, Labelling, cheapest_labelling
from edgeweave.partition.search.weights import best_weights, normalised

if TYPE_CHECKING:
    from edgeweave.partition.search.labelling import Array

ROUNDS = 12
CLOSE = 2e-4
"""Relative distance to the best weights at which more rounds are not worth their time."""

ROUNDING = 1e-8
"""Relative error of a sum in another order."""


@dataclass(frozen=True)
class LoadBound:
    """A bound on all labellings in a domain, in the unit of what is minimised.

    ``shares[i]`` is how much of ``labellings[i]`` the mixture holds that has this largest load; the
    bound would be reached if plans could be mixed. ``weights`` are the engines'.
    """

    value: float
    weights: tuple[float, ...]
    labellings: tuple[Labelling, ...]
    shares: tuple[float, ...]

    def mean_labels(self) -> Array:
        """For each region its mean stage in the mixture; equal where all labellings are equal."""
        import numpy as np

        kept = [i for i, share in enumerate(self.shares) if share > 0]
        labels = np.array([self.labellings[i].labels for i in kept], float)
        # Sums of the same terms in the same order: what is ordered before stays so.
        mean = np.zeros(labels.shape[1])
        for i, row in zip(kept, labels, strict=True):
            mean = mean + self.shares[i] * row
        return mean


def bound_sum(arrays: Arrays, domain: Domain, slot_weights: Sequence[float]) -> LoadBound:
    """The least weighted sum of all stages' seconds, with a weight for each slot."""
    found = cheapest_labelling(arrays, domain, slot_weights)
    if found.value == INFINITY:
        return LoadBound(INFINITY, (), (), ())
    return LoadBound(found.value * (1 - ROUNDING), (), (found,), (1.0,))


def bound_loads(
    arrays: Arrays, domain: Domain, weights: Sequence[float], enough_s: float, rounds: int = ROUNDS
) -> LoadBound:
    """Raise the bound from the given weights until it is ``enough_s`` or hardly rises any more."""
    engine_of = arrays.problem.engine_of
    engines = sorted({engine_of[s] for s in domain.slots})
    current = normalised(engines, weights)
    best, kept, found = 0.0, current, []
    shares: tuple[float, ...] = ()
    for _ in range(rounds):
        labelling = cheapest_labelling(arrays, domain, [current[e] for e in engine_of])
        if labelling.value == INFINITY:
            return LoadBound(INFINITY, current, (), ())
        found.append(labelling)
        bound = labelling.value * (1 - ROUNDING)
        if bound > best:
            best, kept = bound, current
        if best >= enough_s or len(engines) == 1:
            break
        trial = best_weights(engines, [labelling.loads.tolist() for labelling in found])
        current, shares = trial.weights, trial.shares
        if trial.most_s - best <= CLOSE * trial.most_s:
            break
    if len(shares) != len(found):
        shares = best_weights(engines, [labelling.loads.tolist() for labelling in found]).shares
    return LoadBound(best, kept, tuple(found), shares)
