"""The least interval when each engine runs one stage: dynamic programming over ideals.

The split of Tarnawski et al., "Efficient Algorithms for Device Placement of DNN Graph Operators",
NeurIPS 2020, section 4, for engines that differ and with two things that make it fast. It looks
for plans below a given interval only: stages longer than that are never opened, and ideals whose
rest is too much work for the engines left are never reached. And all stages that start at one
ideal are computed at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from time import perf_counter
from typing import TYPE_CHECKING, Any

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import check
from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.problem import Matrix, Problem
from edgeweave.partition.search.fractional import Shares, share_work
from edgeweave.partition.search.ideal_cuts import SLACK, Cuts, block_sums, make_cuts
from edgeweave.partition.search.ideals import all_ideals
from edgeweave.partition.search.indivisible import indivisible
from edgeweave.partition.search.reduction import exchange, identical_engines

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MOST_IDEALS = 120_000
"""Ideals that fit into memory with all that is kept for each: about 1 GB at 600 values."""

FIRST_STEP = 0.01
"""How far above the bound the first search looks, relatively."""

TINY = 1e-6
"""Where the bound is 0, the search starts at this part of what any plan may take."""


@dataclass(frozen=True)
class Groups:
    """Engines in groups that may change places: a stage goes to the next unused one of a group."""

    engines: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, problem: Problem) -> Groups:
        """Every engine in exactly one group."""
        alike = identical_engines(problem)
        single = [e for e in range(len(problem.engines)) if not any(e in g for g in alike)]
        return cls((*alike, *((e,) for e in single)))

    def states(self, max_stages: int) -> list[tuple[int, ...]]:
        """How many engines of each group are used: every combination of at most so many stages."""
        counts = product(*(range(len(group) + 1) for group in self.engines))
        return [state for state in counts if sum(state) <= max_stages]


Way = tuple[int, int, int]
"""A stage to be added: the state before it, the state after it, its slot."""


@dataclass(frozen=True)
class Found:
    """The plan that was found, if any, and what no plan with one stage per engine is below."""

    assignment: Stages | None
    bound_s: float


@dataclass
class Search:
    """One pass over all ideals for plans whose interval is at most ``most_s``."""

    cuts: Cuts
    groups: Groups
    shares: Shares
    max_stages: int
    most_s: float
    deadline: float
    states: list[tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.states = self.groups.states(self.max_stages)

    def run(self) -> tuple[Stages, float] | None:
        """The best plan at most ``most_s`` and its interval by the least prices; None: none exists.

        Raises TimeoutError when the deadline passes first.
        """
        import numpy as np

        count = self.cuts.count
        self.value = np.full((len(self.states), count), np.inf)
        self.value[0, 0] = 0.0
        self.parent = np.full((len(self.states), count), -1, np.int32)
        self.before = np.full((len(self.states), count), -1, np.int32)
        self.slot = np.full((len(self.states), count), -1, np.int16)
        self.fits = self._rests_fit()
        hopeful: Array = np.any(self.fits, axis=0)
        steps = self._steps()
        limit = self.most_s * (1 + SLACK)
        for i in range(count - 1):
            active = np.flatnonzero(self.value[:, i] <= limit)
            if not active.size:
                continue
            if perf_counter() > self.deadline:
                raise TimeoutError
            ways = [(state, *step) for state in map(int, active) for step in steps[state]]
            behind = self._behind(i, hopeful, limit)
            loads = self._work(i, behind)
            useful = np.zeros(len(behind), bool)
            for way in ways:
                useful |= self._better(i, way, behind, loads, limit)
            behind, loads = behind[useful], loads[:, useful]
            if behind.size:
                self._add_transfers(i, behind, loads)
                for way in ways:
                    self._extend(i, way, behind, loads, limit)
        ends = self.value[:, -1]
        best = int(ends.argmin())
        return (self._plan(best), float(ends[best])) if ends[best] <= limit else None

    def _steps(self) -> list[list[tuple[int, int]]]:
        """For each state the states one stage further, with the slot of that stage."""
        index = {state: i for i, state in enumerate(self.states)}
        found = []
        for state in self.states:
            row = []
            for g, group in enumerate(self.groups.engines):
                after = (*state[:g], state[g] + 1, *state[g + 1 :])
                if after in index:
                    engine = group[0]
                    row += [(index[after], s) for s in self.cuts.problem.slots_of(engine)]
            found.append(row)
        return found

    def _rests_fit(self) -> Array:
        """Per state and ideal whether what is left fits in time on the engines that are left.

        The weighted sum of their loads is at most the sum of their weights times the limit. What
        the border cuts must still be received by one of them, at one price or another.
        """
        import numpy as np

        cuts, weights = self.cuts, self.shares.weights
        rows = [self._least_rest(state) for state in self.states]
        least, never, price = (np.array(column).T for column in zip(*rows, strict=True))
        done = block_sums(cuts.member, np.hstack((least, never)))
        rest = np.hstack((least.sum(axis=0), never.sum(axis=0))) - done
        seconds, impossible = np.hsplit(rest, 2)
        if len(cuts.readers):
            seconds = seconds + block_sums(cuts.forward.T, price)
        room = np.array([sum(weights[e] for e in self._left(state)) for state in self.states])
        fits: Array = seconds <= (room * (1 + SLACK) + SLACK) * self.most_s
        fits &= impossible < 0.5
        whole: Array = np.all(cuts.member, axis=1)
        fits |= whole[:, None]
        return np.ascontiguousarray(fits.T)

    def _left(self, state: tuple[int, ...]) -> list[int]:
        """The engines that may still get a stage."""
        if sum(state) == self.max_stages:
            return []
        used = zip(self.groups.engines, state, strict=True)
        return [e for group, count in used for e in group[count:]]

    def _least_rest(self, state: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """On the engines left: each item's least weighted seconds, whether all refuse it, and each
        value's least weighted price.
        """
        import numpy as np

        cuts = self.cuts
        problem = cuts.problem
        slots = [s for e in self._left(state) for s in problem.slots_of(e)]
        if not slots:
            size = len(cuts.items.groups)
            return np.zeros(size), np.ones(size), np.zeros(len(cuts.readers))
        weight = np.array([self.shares.weights[problem.engine_of[s]] for s in slots])
        seconds = cuts.alone[:, slots]
        taken = np.isfinite(seconds)
        weighted = np.where(taken, seconds, 0.0) * weight
        least = np.where(taken, weighted, INFINITY).min(axis=1)
        never = ~taken.any(axis=1)
        linked, unlinked = np.hsplit(cuts.receive, 2)
        price = np.where(unlinked[:, slots] > 0, INFINITY, linked[:, slots] * weight).min(axis=1)
        price[np.isinf(price)] = 0.0
        return np.where(never, 0.0, least), never.astype(float), price

    def _behind(self, i: int, hopeful: Array, limit: float) -> Array:
        """The ideals around ideal ``i`` that one stage may reach."""
        import numpy as np

        cuts = self.cuts
        end = int(np.searchsorted(cuts.fastest, cuts.fastest[i] + limit, side="right"))
        near = i + 1 + np.flatnonzero(hopeful[i + 1 : end])
        own = cuts.words[i]
        for word in np.flatnonzero(own):
            near = near[cuts.words[near, word] & own[word] == own[word]]
        found: Array = near
        return found

    def _work(self, i: int, behind: Array) -> Array:
        """Seconds of the stage from ideal ``i`` to each behind it, per slot, without transfers."""
        import numpy as np

        cuts = self.cuts
        loads = cuts.work[:, behind] - cuts.work[:, i, None]
        loads += np.array(cuts.problem.overhead)[:, None]
        loads[cuts.refused[:, behind] - cuts.refused[:, i, None] > 0.5] = np.inf
        capacity = [cuts.problem.capacity[e] for e in cuts.problem.engine_of]
        kept = cuts.memory[behind] - cuts.memory[i]
        loads[kept[None, :] > np.array(capacity)[:, None] + 0.5] = np.inf
        found: Array = loads
        return found

    def _add_transfers(self, i: int, behind: Array, loads: Array) -> None:
        import numpy as np

        if len(self.cuts.readers):
            seconds, unlinked = np.split(self._transfers(i, behind), 2)
            loads += seconds
            loads[unlinked > 0.5] = np.inf

    def _transfers(self, i: int, behind: Array) -> Array:
        """What the stages pay to receive and to send values, per price.

        A stage receives a value that is made outside and read inside, and sends one that is made
        inside and read outside. What its far border cuts holds nearly all of it (``far``); only
        values that its near border cuts as well have to be looked at one by one, and are few.
        """
        import numpy as np

        cuts = self.cuts
        live = cuts.live(i)
        in_front = cuts.made[live, i][:, None]
        stages = np.ix_(live, behind)
        made, read = cuts.made[stages], cuts.read[stages]
        inside = read > cuts.read[live, i][:, None]
        open_behind = read < cuts.readers[live][:, None]
        received = (in_front & inside) - (~in_front & ~made & ~inside).astype(float)
        sent = (~in_front & made & ~open_behind) - (in_front & open_behind).astype(float)
        near = cuts.receive[live].T @ received + cuts.send[live].T @ sent
        paid: Array = near + cuts.far[:, behind]
        return paid

    def _better(self, i: int, way: Way, behind: Array, loads: Array, limit: float) -> Array:
        """Where a stage that goes this way ends up better than what is known."""
        import numpy as np

        state, target, slot = way
        longest = np.maximum(loads[slot], self.value[state, i])
        found: Array = (longest < self.value[target, behind]) & (longest <= limit)
        found &= self.fits[target, behind]
        return found

    def _extend(self, i: int, way: Way, behind: Array, loads: Array, limit: float) -> None:
        """Add a stage behind ideal ``i`` where it ends up better than what is known."""
        import numpy as np

        better = self._better(i, way, behind, loads, limit)
        state, target, slot = way
        reached = behind[better]
        self.value[target, reached] = np.maximum(loads[slot, better], self.value[state, i])
        self.parent[target, reached] = i
        self.before[target, reached] = state
        self.slot[target, reached] = slot

    def _plan(self, state: int) -> Stages:
        """The stages that led to the full ideal, engines of a group used in their order."""
        import numpy as np

        at, chain = self.cuts.count - 1, []
        while at > 0:
            slot = int(self.slot[state, at])
            before = int(self.parent[state, at])
            inside = np.flatnonzero(self.cuts.member[at] & ~self.cuts.member[before])
            chain.append((slot, [r for i in inside for r in self.cuts.items.groups[i]]))
            state, at = int(self.before[state, at]), before
        return tuple((slot, tuple(sorted(regions))) for slot, regions in self._spread(chain[::-1]))

    def _spread(self, chain: list[tuple[int, list[int]]]) -> list[tuple[int, list[int]]]:
        """Each stage on an engine of its own where the search named a group's first engine."""
        problem = self.cuts.problem
        used: dict[int, int] = {}
        found = []
        for slot, regions in chain:
            engine = problem.engine_of[slot]
            group = next(group for group in self.groups.engines if group[0] == engine)
            own = group[used.get(engine, 0)]
            used[engine] = used.get(engine, 0) + 1
            swap = None if own == engine else exchange(problem, engine, own)
            found.append((slot if swap is None else swap[slot], regions))
        return found


def least_interval(
    problem: Problem, max_stages: int, known_s: float, deadline: float, limit: int = MOST_IDEALS
) -> Found:
    """The least interval with at most one stage per engine, when the graph's ideals can be listed.

    ``known_s`` is the interval of the best plan so far (infinite when there is none). Raises the
    interval it searches below from the bound of the fractional problem up to ``known_s``; each
    search that finds nothing raises the bound. ``deadline`` is in the clock of ``perf_counter``.
    Some slot must take each region.
    """
    shares = share_work(problem)
    bound = shares.bound_s
    groups = Groups.of(problem)
    most_possible = _most_possible(problem)
    for most in _rising(max(bound, TINY * most_possible), min(known_s, most_possible)):
        items = indivisible(problem, shares, most)
        ideals = all_ideals(items, limit)
        if ideals is None or perf_counter() > deadline:
            return Found(None, bound)
        cuts = make_cuts(problem, items, ideals, most)
        try:
            found = Search(cuts, groups, shares, max_stages, most, deadline).run()
        except TimeoutError:
            return Found(None, bound)
        if found is not None:
            return Found(_valid(problem, found[0]), max(bound, found[1]))
        bound = max(bound, most)
    return Found(None, max(bound, known_s))


def _valid(problem: Problem, stages: Stages) -> Stages | None:
    """The plan, unless it uses a link that is missing: each price was the least of several."""
    try:
        check(problem, stages)
    except PartitionError:
        return None
    return stages


def _most_possible(problem: Problem) -> float:
    """Seconds that no stage takes longer than."""
    work = sum(max(c for c in row if c < INFINITY) for row in problem.seconds)
    return (
        max(problem.overhead)
        + work
        + sum(
            len(value.consumers) * _dearest(price) + _dearest(send)
            for value, price, send in zip(problem.values, problem.price, problem.send, strict=True)
        )
    )


def _dearest(prices: Matrix) -> float:
    return max(p for row in prices for p in row if p < INFINITY)


def _rising(bound: float, known: float) -> Iterator[float]:
    """Intervals to search below: a little above the bound at first, then ever further."""
    step = FIRST_STEP
    while bound * (1 + step) < known:
        yield bound * (1 + step)
        step *= 2
    yield known
