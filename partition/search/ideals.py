"""The ideals of a graph: every set of items that can be done before the rest.

A plan in one order of stages is a chain of ideals: what is done after each of its stages. Searching
that chain needs every ideal, so graphs are made small first: regions that no good plan separates
become one item (``contract``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Group = tuple[int, ...]


@dataclass(frozen=True)
class Items:
    """Regions grouped into items, in a topological order of the items.

    ``predecessors[i]`` are the items that item ``i`` reads from. ``item_of[r]`` is a region's item.
    """

    groups: tuple[Group, ...]
    predecessors: tuple[tuple[int, ...], ...]
    item_of: tuple[int, ...]


def contract(size: int, edges: Sequence[tuple[int, int]], together: Iterable[Group]) -> Items:
    """Group regions so that each of the given groups shares an item.

    An item must be convex to be placed as a whole: what lies on a way from one of its regions to
    another joins it. So the strongly connected parts of the grouped graph are merged as well.
    """
    import networkx as nx

    joined: nx.DiGraph[int] = nx.DiGraph()
    joined.add_nodes_from(range(size))
    joined.add_edges_from(edges)
    for group in together:
        joined.add_edges_from(zip(group, (*group[1:], group[0]), strict=True))
    graph: nx.DiGraph[int] = nx.condensation(joined)
    groups = {c: tuple(sorted(graph.nodes[c]["members"])) for c in graph}
    order = list(nx.lexicographical_topological_sort(graph, key=lambda c: groups[c][0]))
    index = {c: i for i, c in enumerate(order)}
    item_of = [0] * size
    for c, members in groups.items():
        for region in members:
            item_of[region] = index[c]
    return Items(
        groups=tuple(groups[c] for c in order),
        predecessors=tuple(tuple(sorted(index[p] for p in graph.predecessors(c))) for c in order),
        item_of=tuple(item_of),
    )


def all_ideals(items: Items, limit: int) -> list[int] | None:
    """Every ideal as a set of bits, the empty and the full one included; None if above the limit.

    The number of ideals grows with the width of the graph: n + 1 for a chain, 2^n without edges.
    """
    needs = [sum(1 << p for p in before) for before in items.predecessors]
    followers: list[list[int]] = [[] for _ in needs]
    for i, before in enumerate(items.predecessors):
        for p in before:
            followers[p].append(i)
    first = [i for i, need in enumerate(needs) if need == 0]
    ready = {0: sum(1 << i for i in first)}
    queue = [0]
    for ideal in queue:
        open_items = ready[ideal]
        while open_items:
            bit = open_items & -open_items
            open_items ^= bit
            larger = ideal | bit
            if larger in ready:
                continue
            if len(queue) >= limit:
                return None
            opened = sum(1 << f for f in followers[bit.bit_length() - 1] if needs[f] & ~larger == 0)
            ready[larger] = ready[ideal] & ~bit | opened
            queue.append(larger)
    return queue
