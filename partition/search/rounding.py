"""Real plans near a mixture of labellings: all regions in a row, cut where the loads even out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.search.labelling import Arrays, Domain
from edgeweave.partition.search.load_bound import LoadBound

if TYPE_CHECKING:
    from edgeweave.partition.search.labelling import Array

SHARPNESS = 12
"""Power in the mean of loads that stands for their maximum; high, yet every move still counts."""

ROUNDS = 30


def whole_domain(arrays: Arrays, slots: tuple[int, ...]) -> Domain:
    """All labellings of a sequence."""
    import numpy as np

    size, last = arrays.size, len(slots) - 1
    return Domain(slots, np.zeros(size, np.int64), np.full(size, last, np.int64))


@dataclass(frozen=True)
class Row:
    """All regions in their own order: how well sequences of slots suit it."""

    arrays: Arrays

    def promise(self, slots: tuple[int, ...], slot_weights: tuple[float, ...] | None) -> float:
        """What the simplest plan on these slots loads an engine with, or adds up to; no proof."""
        import numpy as np

        cuts = self._cuts(slots)
        if cuts is None:
            return INFINITY
        bounds = np.array([0, *cuts, self.arrays.size])
        done = np.zeros((self.arrays.size + 1, len(slots)))
        done[1:] = np.cumsum(np.nan_to_num(self.arrays.seconds[:, slots], posinf=0.0), axis=0)
        stages = np.arange(len(slots))
        seconds = done[bounds[1:], stages] - done[bounds[:-1], stages]
        if slot_weights is not None:
            return float(seconds @ np.array(slot_weights)[list(slots)])
        engines = [self.arrays.problem.engine_of[s] for s in slots]
        return float(np.bincount(engines, seconds).max())

    def plan(self, slots: tuple[int, ...]) -> Iterator[Stages]:
        """The simplest plan on these slots, where there is one."""
        import numpy as np

        cuts = self._cuts(slots)
        if cuts is not None:
            labels = np.searchsorted(cuts, np.arange(self.arrays.size), side="right")
            yield _as_stages(slots, labels)

    def _cuts(self, slots: tuple[int, ...]) -> Array | None:
        import numpy as np

        size = self.arrays.size
        even = np.arange(1, len(slots)) * size // len(slots)
        return balanced_cuts(self.arrays, whole_domain(self.arrays, slots), np.arange(size), even)


def rounded_plans(arrays: Arrays, domain: Domain, found: LoadBound) -> Iterator[Stages]:
    """The cheapest labellings themselves, and the mixture's order cut into balanced stages."""
    import numpy as np

    likely = int(np.array(found.shares).argmax())
    labels = found.labellings[likely].labels
    yield _as_stages(domain.slots, labels)
    mean = found.mean_labels()
    # Neither the mean nor the index falls along an edge, so cuts of this order are legal.
    order = np.lexsort((np.arange(arrays.size), mean))
    cuts = balanced_cuts(arrays, domain, order, np.searchsorted(mean[order], _steps(domain)))
    if cuts is not None:
        stage = np.searchsorted(cuts, np.arange(arrays.size), side="right")
        balanced = np.empty(arrays.size, np.int64)
        balanced[order] = stage
        yield _as_stages(domain.slots, balanced)


def _steps(domain: Domain) -> Array:
    import numpy as np

    return np.arange(len(domain.slots) - 1) + 0.5


def _as_stages(slots: tuple[int, ...], labels: Array) -> Stages:
    import numpy as np

    stages: list[tuple[int, tuple[int, ...]]] = []
    for stage, slot in enumerate(slots):
        regions = tuple(int(r) for r in np.flatnonzero(labels == stage))
        if regions:
            stages.append((slot, regions))
    return tuple(stages)


def balanced_cuts(arrays: Arrays, domain: Domain, order: Array, start: Array) -> Array | None:
    """Where to cut the order, one border at a time, until no border improves the loads.

    ``order`` is a topological order, ``start`` the first guess. Transfers are left out. None when
    no cut avoids the refusals.
    """
    import numpy as np

    problem, slots = arrays.problem, list(domain.slots)
    engine = np.array([problem.engine_of[s] for s in slots])
    seconds = arrays.seconds[np.ix_(order, np.array(slots))]
    done = np.zeros((len(order) + 1, len(slots)))
    done[1:] = np.cumsum(np.where(np.isfinite(seconds), seconds, 0.0), axis=0)
    refused = np.zeros((len(order) + 1, len(slots)))
    refused[1:] = np.cumsum(~np.isfinite(seconds), axis=0)
    cost = done + refused * (done[-1].sum() or 1.0)  # a refusal costs more than everything else
    ends = np.array([0, *start, len(order)])
    for _ in range(ROUNDS):
        before = ends.copy()
        for border in range(1, len(slots)):
            _move(cost, engine, ends, border)
        if (ends == before).all():
            break
    inside = refused[ends[1:], np.arange(len(slots))] - refused[ends[:-1], np.arange(len(slots))]
    return None if inside.any() else ends[1:-1]


def _move(cost: Array, engine: Array, ends: Array, border: int) -> None:
    """Put one border where the engines' loads are most even, the others staying."""
    import numpy as np

    stages = np.arange(len(engine))
    places = np.arange(ends[border - 1], ends[border + 1] + 1)
    loads = cost[ends[1:], stages] - cost[ends[:-1], stages]
    front, back = border - 1, border
    per_place = np.zeros((len(places), int(engine.max()) + 1))
    for stage in stages:
        if stage not in (front, back):
            per_place[:, engine[stage]] += loads[stage]
    per_place[:, engine[front]] += cost[places, front] - cost[ends[front], front]
    per_place[:, engine[back]] += cost[ends[border + 1], back] - cost[places, back]
    largest = per_place.max()
    if largest > 0:
        ends[border] = places[((per_place / largest) ** SHARPNESS).sum(axis=1).argmin()]
