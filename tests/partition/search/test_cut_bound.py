import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import cut_regions
from edgeweave.partition.search.cut_bound import cut_latency_bound

FREE, DEAR = (0.0, 0.0), (1.0, 0.5)


@st.composite
def ladders(draw, make_table):
    """Blocks of one to three parallel regions between regions that every way passes."""
    edges, n = {}, 1
    for _ in range(draw(st.integers(1, 2))):
        width = draw(st.integers(1, 3))
        for r in range(n, n + width):
            edges.setdefault(n - 1, []).append(r)
            edges.setdefault(r, []).append(n + width)
        n += width + 1
    seconds = st.sampled_from([0.0, 1.0, 2.0, 3.0, 8.0])
    costs = [[draw(st.one_of(seconds, st.none())), draw(seconds)] for _ in range(n)]
    price = draw(st.sampled_from([FREE, DEAR, (0.25, 0.0)]))
    return make_table(
        costs, edges, nbytes=2, transfer=[[FREE, price], [price, FREE]], overhead=[0.5, 0.25]
    )


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_plan_is_below_the_bound(tables, all_tables, make_table, every_plan, data):
    table = data.draw(
        st.one_of(tables(max_regions=5), all_tables(max_regions=5), ladders(make_table))
    )
    stages = data.draw(st.integers(1, 4 if len(table.regions) < 6 else 3))
    plans = every_plan(table, stages)
    bound = cut_latency_bound(Problem(table), stages)
    if plans:
        assert bound <= min(plan.latency for plan in plans) * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_on_a_chain_the_bound_is_the_least_latency(make_table, every_plan, data):
    n = data.draw(st.integers(2, 6))
    seconds = st.sampled_from([0.5, 1.0, 2.0, 3.0, 8.0])
    costs = [[data.draw(seconds), data.draw(seconds)] for _ in range(n)]
    price = data.draw(st.sampled_from([FREE, DEAR]))
    table = make_table(
        costs,
        {r: [r + 1] for r in range(n - 1)},
        nbytes=2,
        transfer=[[FREE, price], [price, FREE]],
        overhead=[0.5, 0.25],
    )
    stages = data.draw(st.integers(1, 4))
    least = min(plan.latency for plan in every_plan(table, stages))
    assert cut_latency_bound(Problem(table), stages) == pytest.approx(least)


def test_work_between_two_such_regions_is_not_shared_by_two_serial_stages(make_table):
    # One block of two equal branches: in two stages they run one after another.
    table = make_table(
        [[1.0, 1.0], [4.0, 4.0], [4.0, 4.0], [1.0, 1.0]], {0: [1, 2], 1: [3], 2: [3]}
    )
    assert cut_regions(Problem(table)) == [0, 3]
    assert cut_latency_bound(Problem(table), 2) == 10.0
    assert cut_latency_bound(Problem(table), 3) == 10.0
    assert cut_latency_bound(Problem(table), 4) == 6.0  # two stages side by side


def test_without_a_region_on_every_way_nothing_is_proven(make_table):
    assert cut_latency_bound(Problem(make_table([[1.0], [2.0]], {})), 3) == 0.0
