"""Regions that no plan below a given interval separates, when each engine runs one stage."""

from __future__ import annotations

from collections.abc import Iterator

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.fractional import Shares
from edgeweave.partition.search.ideals import Group, Items, contract

SLACK = 1e-9


def indivisible(problem: Problem, shares: Shares, most_s: float) -> Items:
    """The regions as items, none of which a plan of at most ``most_s`` needs to cut.

    Regions belong together when they must share an engine, when handing over the value between
    them takes longer than the interval allows, and when one of them is free and reads from, or is
    read by, the other alone.
    """
    groups = [
        *problem.table.colocated,
        *_dear(problem, shares, most_s),
        *_free_ends(problem),
    ]
    return contract(problem.size, problem.edges, groups)


def _dear(problem: Problem, shares: Shares, most_s: float) -> Iterator[Group]:
    """Pairs whose separation makes some stage, or the weighted sum of all, too long."""
    spare = most_s * (1 + SLACK) - shares.bound_s
    limit = most_s * (1 + SLACK)
    pairs = [
        (a, b)
        for a in range(problem.width)
        for b in range(problem.width)
        if problem.engine_of[a] != problem.engine_of[b]
    ]
    weight = [shares.weights[e] for e in problem.engine_of]
    for i, value in enumerate(problem.values):
        send, price = problem.send[i], problem.price[i]
        made = _alone(problem, value.producer)
        for reader in value.consumers:
            read = _alone(problem, reader)
            separable = any(
                made[a] + send[a][b] <= limit
                and read[b] + price[a][b] <= limit
                and weight[a] * send[a][b] + weight[b] * price[a][b] <= spare
                for a, b in pairs
                if price[a][b] < INFINITY
            )
            if not separable:
                yield (value.producer, reader)


def _alone(problem: Problem, region: int) -> list[float]:
    """Seconds of a stage that holds this region only, per slot, without transfers."""
    return [c + o for c, o in zip(problem.seconds[region], problem.overhead, strict=True)]


def _free_ends(problem: Problem) -> Iterator[Group]:
    """Regions that cost nothing anywhere and have one neighbour: its stage can always take them.

    Not where memory is short, because they may hold weights, nor where they belong to others.
    """
    spacious = sum(problem.memory_bytes) <= min(problem.capacity)
    tied = {region for group in problem.table.colocated for region in group}
    movable = [
        region not in tied
        and not any(problem.seconds[region])
        and (spacious or not problem.memory_bytes[region])
        for region in range(problem.size)
    ]
    neighbours: list[set[int]] = [set() for _ in range(problem.size)]
    for value in problem.values:
        for consumer in value.consumers:
            neighbours[value.producer].add(consumer)
            neighbours[consumer].add(value.producer)
    merged: set[int] = set()
    for start in range(problem.size):
        region = start
        while movable[region] and region not in merged and len(neighbours[region]) == 1:
            (other,) = neighbours[region]
            merged.add(region)
            neighbours[other].discard(region)
            yield (region, other)
            region = other
