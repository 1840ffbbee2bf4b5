from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.search.ideals import all_ideals, contract

graphs = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.sets(st.sampled_from([(a, b) for a in range(n) for b in range(a + 1, n)] or [(0, 0)]))
        if n > 1
        else st.just(set()),
        st.lists(st.lists(st.integers(0, n - 1), min_size=1, max_size=3).map(tuple), max_size=2),
    )
)


def closed(size, edges):
    """Every set of nodes that holds all it depends on, as bits."""
    sets = (set(c) for k in range(size + 1) for c in combinations(range(size), k))
    return sorted(sum(1 << i for i in s) for s in sets if all(a in s for a, b in edges if b in s))


def test_a_chain_has_one_ideal_more_than_items():
    items = contract(4, [(0, 1), (1, 2), (2, 3)], [])
    assert all_ideals(items, 100) == [0b0, 0b1, 0b11, 0b111, 0b1111]


def test_what_lies_between_two_regions_of_a_group_joins_it():
    items = contract(4, [(0, 1), (1, 2), (2, 3)], [(0, 2)])
    assert items.groups == ((0, 1, 2), (3,))
    assert items.predecessors == ((), (0,))
    assert items.item_of == (0, 0, 0, 1)


def test_above_the_limit_there_is_no_list():
    items = contract(3, [], [])
    assert all_ideals(items, 7) is None
    assert len(all_ideals(items, 8)) == 8


@settings(max_examples=150, deadline=None)
@given(graphs)
def test_ideals_are_all_sets_that_hold_what_they_depend_on(graph):
    size, edges, _ = graph
    items = contract(size, sorted(edges), [])
    back = [items.groups[i][0] for i in range(size)]
    found = [
        sum(1 << back[i] for i in range(size) if ideal >> i & 1)
        for ideal in all_ideals(items, 1000)
    ]
    assert sorted(found) == closed(size, edges)


@settings(max_examples=150, deadline=None)
@given(graphs)
def test_items_are_the_ideals_that_no_group_is_cut_by(graph):
    size, edges, groups = graph
    items = contract(size, sorted(edges), groups)
    found = sorted(
        sum(1 << r for i, group in enumerate(items.groups) if ideal >> i & 1 for r in group)
        for ideal in all_ideals(items, 1000)
    )
    whole = [
        s for s in closed(size, edges) if all(len({s >> r & 1 for r in g}) == 1 for g in groups)
    ]
    assert found == whole
    assert all(p < i for i, before in enumerate(items.predecessors) for p in before)
