"""The best plans of large graphs: branch and bound over sequences of slots.

A plan is a sequence of slots and a stage for each region. Each sequence is bounded on its own
(``load_bound``), the most promising one is looked at first, and where mixing two labellings beats
every real one, the regions in dispute are divided: either one of them and all it depends on is done
by some stage, or it and all that depends on it comes later. Every bound is proven, so the search
may end at any time. Memory and colocation are left to the caller: the bound holds without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, islice
from time import perf_counter
from typing import TYPE_CHECKING

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.fractional import share_work
from edgeweave.partition.search.labelling import Arrays, Domain, as_arrays
from edgeweave.partition.search.load_bound import ROUNDS, LoadBound, bound_loads, bound_sum
from edgeweave.partition.search.reduction import identical_engines
from edgeweave.partition.search.rounding import Row, rounded_plans, whole_domain

if TYPE_CHECKING:
    from edgeweave.partition.search.labelling import Array

MOST_SEQUENCES = 3000
"""Sequences that can be bounded one by one in a time worth waiting for."""

PROVEN = 5e-7
"""Relative distance to the best plan at which a part of the search is done with."""

FEW_ROUNDS = 3
"""Rounds of a part that nothing is known of; most of these are never divided again."""

FIRST_TRIES = 8
"""Sequences whose simplest plan is looked at before the search."""

Offer = Callable[[Stages], float]
"""Takes a plan that was found; returns the value of the best plan so far.

Its stages are legal for the edges and avoid all refusals; links, memory and colocation are not
looked at.
"""


def sequences(problem: Problem, max_stages: int) -> Iterator[tuple[int, ...]]:
    """Slots of consecutive stages, neighbours unlike; of engines that may change places, the first.

    Two neighbouring stages of one slot are never better than one stage for the interval.
    """
    groups = {e: group for group in identical_engines(problem) for e in group}

    def extend(done: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if done:
            yield done
        if len(done) == max_stages:
            return
        used = [problem.engine_of[s] for s in done]
        for slot in range(problem.width):
            engine = problem.engine_of[slot]
            group = groups.get(engine, (engine,))
            ahead = group[: group.index(engine)]
            if done and done[-1] == slot:
                continue
            if used.count(engine) >= problem.engine_stages[engine]:
                continue
            if all(e in used for e in ahead):
                yield from extend((*done, slot))

    yield from extend(())


@dataclass(frozen=True)
class Part:
    """A part of all plans that is still to be searched, with what bounds it."""

    domain: Domain
    weights: tuple[float, ...]
    depth: int


@dataclass
class SequenceSearch:
    """The state of a search; ``offer`` is told of every plan that it meets.

    It minimises the largest load of an engine, or with ``slot_weights`` the weighted sum of all
    stages' seconds. ``known`` is the value of the best plan so far.
    """

    arrays: Arrays
    offer: Offer
    known: float = INFINITY
    slot_weights: tuple[float, ...] | None = None
    heap: list[tuple[float, float, int, Part]] = field(default_factory=list)
    done: float = INFINITY
    learnt: dict[frozenset[int], tuple[float, ...]] = field(default_factory=dict)
    _order: Iterator[int] = field(default_factory=count)

    def push(self, bound: float, part: Part, promise: float = 0.0) -> None:
        """Keep a part for later, unless no plan in it is clearly better than the best one known.

        Of parts with the same bound, the one with the smaller ``promise`` is looked at first.
        """
        if not self._is_done(bound):
            heappush(self.heap, (bound, promise, next(self._order), part))

    def _is_done(self, bound: float) -> bool:
        if bound < self.known * (1 - PROVEN):
            return False
        self.done = min(self.done, bound)
        return True

    @property
    def bound(self) -> float:
        """No plan has a smaller value; about the best plan's own when the search is done."""
        return min(self.heap[0][0] if self.heap else INFINITY, self.done, self.known)

    def step(self) -> None:
        """Bound the most promising part, and divide it."""
        bound, promise, _, part = heappop(self.heap)
        if self._is_done(bound):
            return
        found = self._measure(part)
        bound = max(bound, found.value)
        if self._is_done(bound):
            return
        # Where nothing is open the part is one plan, and it has now been offered.
        self._try_plans(part, found)
        for domain in divide(self.arrays, part.domain, found):
            self.push(bound, Part(domain, found.weights, part.depth + 1), promise)

    def _measure(self, part: Part) -> LoadBound:
        if self.slot_weights is not None:
            return bound_sum(self.arrays, part.domain, self.slot_weights)
        engines = frozenset(self.arrays.problem.engine_of[s] for s in part.domain.slots)
        # Sequences of the same engines have nearly the same best weights.
        start = self.learnt.get(engines, part.weights) if part.depth == 0 else part.weights
        rounds = min(ROUNDS, FEW_ROUNDS * (1 + part.depth))
        enough = self.known * (1 - PROVEN / 2)
        found = bound_loads(self.arrays, part.domain, start, enough, rounds)
        if found.labellings:
            self.learnt[engines] = found.weights
        return found

    def _try_plans(self, part: Part, found: LoadBound) -> None:
        for stages in rounded_plans(self.arrays, part.domain, found):
            self.known = min(self.known, self.offer(stages))


def search_sequences(
    problem: Problem,
    max_stages: int,
    known: float,
    deadline: float,
    offer: Offer,
    slot_weights: tuple[float, ...] | None = None,
) -> float:
    """Search until all is proven or the deadline (``perf_counter``); returns a proven bound.

    The bound is on the largest load of an engine in seconds, or with ``slot_weights`` on the
    weighted sum of all stages' seconds. Where there are too many sequences to look at, plans with
    fewer stages are searched, and only what holds for any sequence is proven.
    """
    arrays = as_arrays(problem)
    search = SequenceSearch(arrays, offer, known, slot_weights)
    if slot_weights is None:
        shares = share_work(problem)
        least, weights = shares.bound_s, shares.weights
    else:
        least, weights = _least_sum(arrays, slot_weights), ()
    chosen = list(islice(sequences(problem, max_stages), MOST_SEQUENCES + 1))
    if len(chosen) > MOST_SEQUENCES:
        # Plans with fewer stages are plans; what is proven of them says nothing of the others.
        search_sequences(problem, max_stages - 1, known, deadline, offer, slot_weights)
        return least
    row = Row(arrays)
    promises = [row.promise(slots, slot_weights) for slots in chosen]
    for i in sorted(range(len(chosen)), key=promises.__getitem__)[:FIRST_TRIES]:
        for stages in row.plan(chosen[i]):
            search.known = min(search.known, offer(stages))
    cheap: dict[frozenset[int], float] = {}
    for slots, promise in zip(chosen, promises, strict=True):
        used = frozenset(slots)
        if slot_weights is None and used not in cheap:
            cheap[used] = _shared_by(arrays, used)
        part = Part(whole_domain(arrays, slots), weights, 0)
        search.push(max(cheap.get(used, 0.0), least), part, promise)
    while search.heap and perf_counter() < deadline:
        search.step()
    return search.bound


def _least_sum(arrays: Arrays, slot_weights: tuple[float, ...]) -> float:
    """Every region where it costs least, whatever its neighbours do."""
    import numpy as np

    taken = np.isfinite(arrays.seconds)
    weighted = np.where(taken, arrays.seconds, 0.0) * np.array(slot_weights)
    return float(np.where(taken, weighted, np.inf).min(axis=1).sum())


def _shared_by(arrays: Arrays, slots: frozenset[int]) -> float:
    """What the slots' engines cannot be below when they share the work evenly."""
    import numpy as np

    seconds = arrays.seconds[:, sorted(slots)].min(axis=1)
    engines = {arrays.problem.engine_of[s] for s in slots}
    return INFINITY if not np.isfinite(seconds).all() else float(seconds.sum()) / len(engines)


def divide(arrays: Arrays, domain: Domain, found: LoadBound) -> Iterator[Domain]:
    """Two domains that hold all plans of this one: a region is done by a border, or comes later."""
    chosen = _dispute(arrays, domain, found)
    if chosen is None:
        return
    region, border = chosen
    yield _narrow(arrays, domain, region, high=border)
    yield _narrow(arrays, domain, region, low=border + 1)


def _dispute(arrays: Arrays, domain: Domain, found: LoadBound) -> tuple[int, int] | None:
    """The region and border that divide the work in dispute most evenly; None: nothing is open."""
    import numpy as np

    open_regions = domain.low < domain.high
    if not open_regions.any():
        return None
    work = np.where(np.isfinite(arrays.seconds), arrays.seconds, np.inf).min(axis=1) + 1e-12
    shares = np.array(found.shares)
    best: tuple[float, int, int] | None = None
    for border in range(len(domain.slots) - 1):
        behind = np.array([labelling.labels > border for labelling in found.labellings], float)
        part = shares @ behind
        free = (domain.low <= border) & (border < domain.high)
        doubt = np.where(free, np.minimum(part, 1 - part), 0.0) * work
        if doubt.sum() > (best[0] if best else 1e-9 * work.sum()):
            middle = int(np.searchsorted(np.cumsum(doubt), doubt.sum() / 2))
            best = (float(doubt.sum()), middle, border)
    if best is not None:
        return best[1], best[2]
    # The mixture is one labelling: its charges are below what it pays; fix what it leaves open.
    labels = found.labellings[int(shares.argmax())].labels
    region = int(np.flatnonzero(open_regions)[open_regions.sum() // 2])
    return region, int(np.clip(labels[region], domain.low[region], domain.high[region] - 1))


def _narrow(
    arrays: Arrays, domain: Domain, region: int, low: int | None = None, high: int | None = None
) -> Domain:
    """The domain with a region's stages limited, and with what follows from it along the edges."""
    problem = arrays.problem
    lows, highs = domain.low.copy(), domain.high.copy()
    if low is not None:
        _spread(lows, region, low, problem.successors, 1)
    if high is not None:
        _spread(highs, region, high, problem.predecessors, -1)
    return Domain(domain.slots, lows, highs)


def _spread(
    limits: Array, region: int, limit: int, neighbours: tuple[tuple[int, ...], ...], sign: int
) -> None:
    limits[region] = limit
    queue = [region]
    while queue:
        for other in neighbours[queue.pop()]:
            if sign * limits[other] < sign * limit:
                limits[other] = limit
                queue.append(other)
