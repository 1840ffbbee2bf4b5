"""The bound along chains holds for every plan, and is exact on a chain."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.path_bound import latency_bound


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_plan_is_below_the_bound(all_tables, every_plan, data):
    table = data.draw(all_tables(max_regions=5))
    stages = data.draw(st.integers(1, 3))
    bound = latency_bound(Problem(table), stages)
    for plan in every_plan(table, stages):
        assert bound <= plan.latency * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    costs=st.lists(
        st.tuples(st.integers(1, 9), st.one_of(st.none(), st.integers(1, 9))),
        min_size=1,
        max_size=5,
    ),
    stages=st.integers(1, 3),
    send=st.sampled_from([0.0, 0.5]),
)
def test_the_bound_of_a_chain_is_the_best_plan(make_table, every_plan, costs, stages, send):
    price = [[(0.0, 0.0), (1.0, 0.0, send, 0.0)], [(2.0, 0.0, 3 * send, 0.0), (0.0, 0.0)]]
    edges = {r: [r + 1] for r in range(len(costs) - 1)}
    table = make_table(costs, edges, transfer=price, overhead=[0.25, 0.5])
    plans = every_plan(table, stages)
    least = min((plan.latency for plan in plans), default=INFINITY)
    assert latency_bound(Problem(table), stages) == pytest.approx(least)


def test_regions_between_two_of_a_chain_are_run_one_by_one_in_a_shared_stage(make_table):
    # 0 -> 1, 2, 3 -> 4: on the one slot all five are run, on two the branches overlap.
    costs = [[1.0], [2.0], [2.0], [2.0], [1.0]]
    problem = Problem(make_table(costs, {0: [1, 2, 3], 1: [4], 2: [4], 3: [4]}))
    assert latency_bound(problem, 1) == 8.0


def test_too_few_stages_for_any_plan_are_an_infinite_bound(make_table):
    table = make_table([[1.0, None], [None, 1.0]], {0: [1]})
    assert latency_bound(Problem(table), 1) == INFINITY
    assert latency_bound(Problem(table), 2) == 2.0


def test_a_feedback_value_orders_nothing_and_costs_its_transfer(make_table, every_plan):
    price = [[(0.0, 0.0), (1.0, 0.0)], [(1.0, 0.0), (0.0, 0.0)]]
    table = make_table(
        [[1.0, None], [None, 1.0]], {0: [1]}, transfer=price, feedback={0: [1], 1: [0]}
    )
    assert [plan.latency for plan in every_plan(table, 2)] == [5.0]
    assert latency_bound(Problem(table), 2) == 4.0  # what comes back is not in the chain
