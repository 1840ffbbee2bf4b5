"""The cheapest way to cut a graph into stages on given slots, by a minimum cut.

With the slot of every stage given, a plan is a stage number for each region that does not fall
along an edge. The least weighted sum of all costs over such labellings is a minimum cut (Ishikawa,
"Exact optimization for Markov random fields with convex priors", IEEE TPAMI 25(10), 2003): one node
per region and border between stages, on the source's side when the region lies behind the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Matrix, Problem

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

RESOLUTION = 2**44
"""Units the sum of all costs is divided into; capacities are rounded down to whole units."""

FORBIDDEN = 2 * RESOLUTION
"""Capacity above all costs together; a few hundred thousand regions of it stay below 2**63."""


@dataclass(frozen=True)
class Arrays:
    """A problem as arrays.

    ``seconds[r, s]``, infinite where refused. ``edges[i]`` are the ends of edge i. For each value
    that orders stages: its ``producer``, the ``reader`` furthest down the graph, and its ``price``
    and ``send`` between slots (``[from, to, value]``).
    """

    problem: Problem
    seconds: Array
    overhead: Array
    edges: Array
    producer: Array
    reader: Array
    price: Array
    send: Array

    @property
    def size(self) -> int:
        """Number of regions."""
        return len(self.seconds)


def as_arrays(problem: Problem) -> Arrays:
    """The arrays of a problem; a missing link has the price 0, so that bounds stay bounds."""
    import numpy as np

    kept = [i for i, value in enumerate(problem.values) if not value.feedback]
    shape = (len(kept), problem.width, problem.width)

    def prices(given: Sequence[Matrix]) -> Array:
        found = np.array([given[i] for i in kept], float).reshape(shape)
        return np.ascontiguousarray(np.where(np.isfinite(found), found, 0.0).transpose(1, 2, 0))

    return Arrays(
        problem,
        np.array(problem.seconds, float),
        np.array(problem.overhead, float),
        np.array(problem.edges, np.int64).reshape(-1, 2),
        np.array([problem.values[i].producer for i in kept], np.int64),
        np.array([max(problem.values[i].consumers) for i in kept], np.int64),
        prices(problem.price),
        prices(problem.send),
    )


@dataclass(frozen=True)
class Domain:
    """Labellings to choose from: stage k runs on ``slots[k]``, region r in ``low[r]..high[r]``.

    Neither limit falls along an edge.
    """

    slots: tuple[int, ...]
    low: Array
    high: Array


@dataclass(frozen=True)
class Labelling:
    """The cheapest labelling: its stage per region, and what it loads each engine with, in seconds.

    ``value`` is no more than the weighted sum of the stages' seconds of any plan in the domain that
    uses all stages. ``loads`` are this labelling's own; their weighted sum is above ``value`` by
    what the minimum cut rounds off. Transfers are charged to the borders that a value crosses,
    never with more than it pays.
    """

    value: float
    labels: Array
    loads: Array


def cheapest_labelling(arrays: Arrays, domain: Domain, weights: Sequence[float]) -> Labelling:
    """The labelling with the least weighted sum of its stages' seconds; ``weights[s]`` for slot s.

    ``value`` is infinite when no labelling in the domain avoids the refusals.
    """
    import numpy as np

    slots = list(domain.slots)
    engine = np.array([arrays.problem.engine_of[s] for s in slots])
    weight = np.array(weights)[slots]
    engines = len(arrays.problem.engines)
    charges = _Charges(arrays, domain, weight)
    seconds = arrays.seconds[:, slots]
    # A weight of 0 must not make a refusal free.
    costs = np.where(np.isfinite(seconds), np.nan_to_num(seconds, posinf=0.0) * weight, np.inf)
    cut = _minimum_cut(arrays, domain, costs, charges.most)
    labels = domain.low if cut is None else cut[0]
    chosen = arrays.seconds[np.arange(arrays.size), np.array(slots)[labels]]
    if cut is None or not np.isfinite(chosen).all():
        return Labelling(INFINITY, labels, np.zeros(engines))
    per_stage = np.bincount(labels, chosen, len(slots)) + arrays.overhead[slots]
    per_stage += charges.paid(labels)
    loads = np.bincount(engine, per_stage, engines)
    return Labelling(float(per_stage @ weight) - cut[1], labels, loads)


class _Charges:
    """What each value is charged at each border between stages, at most what it really pays.

    A value made in stage a and read last in stage b pays at least ``g(a, b)``; every border
    between them is charged ``g(a, b) / (b - a)``, of all pairs that the domain allows the least.
    """

    def __init__(self, arrays: Arrays, domain: Domain, weight: Array) -> None:
        import numpy as np

        self.arrays, self.stages = arrays, len(domain.slots)
        slots = np.array(domain.slots)
        made, read = arrays.producer, arrays.reader
        shape = (len(made), max(self.stages - 1, 0))
        self.most = np.zeros(shape)
        self.seconds = np.zeros((*shape, self.stages))
        least = np.full(shape, np.inf)
        for a in range(self.stages - 1):
            for b in range(a + 1, self.stages):
                price = arrays.price[slots[a], slots[b]] / (b - a)
                send = arrays.send[slots[a], slots[b]] / (b - a)
                paid = weight[b] * price + weight[a] * send
                possible = (domain.low[made] <= a) & (a <= domain.high[made])
                possible &= (domain.low[read] <= b) & (b <= domain.high[read])
                for border in range(a, b):
                    less = possible & (paid < least[:, border])
                    least[less, border] = paid[less]
                    self.seconds[less, border] = 0.0
                    self.seconds[less, border, b] = price[less]
                    self.seconds[less, border, a] = send[less]
        self.most = np.where(np.isfinite(least), least, 0.0)

    def paid(self, labels: Array) -> Array:
        """Seconds charged to each stage by the values that cross a border."""
        import numpy as np

        seconds = np.zeros(self.stages)
        made, read = labels[self.arrays.producer], labels[self.arrays.reader]
        for border in range(self.stages - 1):
            seconds += self.seconds[(made <= border) & (border < read), border].sum(axis=0)
        return seconds


def _minimum_cut(
    arrays: Arrays, domain: Domain, costs: Array, charges: Array
) -> tuple[Array, float] | None:
    """The stage of each region in a minimum cut, and the most that a better one may gain by it.

    The gain is what rounding hides. None when every cut is forbidden.
    """
    import numpy as np
    from ortools.graph.python import max_flow

    network = _Network(domain, costs, charges)
    for stage in range(len(domain.slots)):
        network.add_regions(stage)
    for border in range(len(domain.slots) - 1):
        network.add_edges(border, arrays.edges[:, 0], arrays.edges[:, 1])
        network.add_charges(border, arrays.producer, arrays.reader, charges[:, border])
    if not network.nodes:
        return domain.low.copy(), 0.0
    flow = max_flow.SimpleMaxFlow()
    flow.add_arcs_with_capacity(
        np.concatenate(network.tails).astype(np.int32),
        np.concatenate(network.heads).astype(np.int32),
        np.concatenate(network.capacities),
    )
    if flow.solve(network.source, network.sink) != flow.OPTIMAL:
        raise RuntimeError("the minimum cut of a labelling has no solution")
    if flow.optimal_flow() >= FORBIDDEN:
        return None
    behind = np.zeros(network.nodes + 2, bool)
    behind[flow.get_source_side_min_cut()] = True
    labels = domain.low.copy()
    for node in network.node.T:
        labels += (node >= 0) & behind[np.maximum(node, 0)]
    return labels, network.rounding


class _Network:
    """The flow network of a domain; regions with one possible stage have no nodes in it."""

    def __init__(self, domain: Domain, costs: Array, charges: Array) -> None:
        import numpy as np

        self.domain = domain
        borders = len(domain.slots) - 1
        border = np.arange(borders)
        inside = (domain.low[:, None] <= border) & (border < domain.high[:, None])
        self.nodes = int(inside.sum())
        self.node: Array = np.full(inside.shape, -1)
        self.node[inside] = np.arange(self.nodes)
        self.source, self.sink = self.nodes, self.nodes + 1
        total = float(costs[np.isfinite(costs)].sum() + charges.sum())
        self.scale = RESOLUTION / total if total > 0 else 1.0
        self.costs = costs
        self.rounded = 0
        self.tails: list[Array] = []
        self.heads: list[Array] = []
        self.capacities: list[Array] = []

    @property
    def rounding(self) -> float:
        """Seconds by which the capacities of a cut may be too small together."""
        return self.rounded / self.scale

    def _add(self, tails: Array, heads: Array, capacities: Array) -> None:
        self.tails.append(tails)
        self.heads.append(heads)
        self.capacities.append(capacities)

    def _units(self, seconds: Array) -> Array:
        import numpy as np

        finite = np.isfinite(seconds)
        units = np.full(seconds.shape, FORBIDDEN, np.int64)
        units[finite] = np.floor(seconds[finite] * self.scale).astype(np.int64)
        self.rounded += int(np.count_nonzero(seconds[finite] > 0))
        return units

    def add_regions(self, stage: int) -> None:
        """Arcs that are cut when a region stands in the stage."""
        import numpy as np

        low, high = self.domain.low, self.domain.high
        here = np.flatnonzero((low <= stage) & (stage <= high) & (low < high))
        front = np.full(here.shape, self.source)
        back = np.full(here.shape, self.sink)
        if stage > 0:
            front = np.where(low[here] < stage, self.node[here, stage - 1], self.source)
        if stage < self.node.shape[1]:
            back = np.where(stage < high[here], self.node[here, stage], self.sink)
        self._add(front, back, self._units(self.costs[here, stage]))
        # Behind a border is behind every border in front of it.
        inner = (front != self.source) & (back != self.sink)
        self._add(back[inner], front[inner], np.full(int(inner.sum()), FORBIDDEN, np.int64))

    def add_edges(self, border: int, tails: Array, heads: Array) -> None:
        """Where the first end of an edge lies behind the border, the second one does."""
        import numpy as np

        u, w = self.node[tails, border], self.node[heads, border]
        both = (u >= 0) & (w >= 0)
        self._add(u[both], w[both], np.full(int(both.sum()), FORBIDDEN, np.int64))

    def add_charges(self, border: int, made: Array, read: Array, charge: Array) -> None:
        """What a value costs that is made in front of the border and read behind it."""
        import numpy as np

        low, high = self.domain.low, self.domain.high
        possible = (charge > 0) & (low[made] <= border) & (border < high[read])
        made, read, charge = made[possible], read[possible], charge[possible]
        # A reader that is surely behind pulls like the source, a producer surely in front holds
        # like the sink.
        tails = np.where(low[read] > border, self.source, self.node[read, border])
        heads = np.where(high[made] <= border, self.sink, self.node[made, border])
        loose = (tails != self.source) | (heads != self.sink)
        self._add(tails[loose], heads[loose], self._units(charge[loose]))
