from dataclasses import replace
from time import perf_counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeweave.partition.evaluate import check, evaluate
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.ideal_dp import least_interval

INFINITY = float("inf")
FEATURES = ("send", "prices", "feedback", "capacity", "colocated")
CLOSE = 1 + 1e-9


def search(table, max_stages=9, known_s=INFINITY, **limits):
    return least_interval(Problem(table), max_stages, known_s, INFINITY, **limits)


def one_stage_each(table):
    """The table as this search reads it: no shared memory, and one stage per engine."""
    return replace(
        table, dram_bytes=(0,) * len(table.regions), engine_stages=(1,) * len(table.engines)
    )


def is_legal(table, stages, max_stages):
    check(Problem(table), stages)
    return len(stages) <= max_stages


@st.composite
def one_ended(draw, make_table, max_regions=6):
    """Tables whose prices to receive know the receiver only, and those to send the sender."""
    n, width = draw(st.integers(1, max_regions)), draw(st.integers(1, 4))
    engines = [f"e{draw(st.integers(0, s))}" for s in range(width)]
    seconds = st.sampled_from([0.0, 0.7, 1.0, 2.0, 3.1, 5.0])
    twins = draw(st.booleans())
    cost = st.one_of(seconds, seconds, seconds, st.none())
    costs = []
    for _ in range(n):
        row = [draw(cost) for _ in range(width)]
        if twins and width > 1:
            row[-1] = row[-2]
        costs.append(row if any(c is not None for c in row) else [1.0] * width)
    price = st.sampled_from([0.0, 0.3, 1.1, 1e12])
    receive, send = [draw(price) for _ in range(width)], [draw(price) for _ in range(width)]
    if twins and width > 1:
        receive[-1], send[-1] = receive[-2], send[-2]
    edge = st.sampled_from([True, False, False])
    return make_table(
        costs,
        {a: [b for b in range(a + 1, n) if draw(edge)] for a in range(n)},
        engines=engines,
        transfer=[[(receive[b], 0.0, send[a], 0.0) for b in range(width)] for a in range(width)],
        overhead=[draw(st.sampled_from([0.0, 0.25]))] * width,
        feedback={n - 1: [0]} if n > 1 and draw(st.booleans()) else None,
        colocated=((0, n - 1),) if n > 2 and draw(edge) and draw(edge) else (),
    )


def test_a_chain_is_split_where_the_loads_are_even(make_table):
    table = make_table([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], {0: [1], 1: [2]})
    found = search(table)
    assert found.assignment == ((0, (0, 1)), (1, (2,)))
    assert found.bound_s == pytest.approx(3.0)


def test_engines_that_may_change_places_are_all_used(make_table):
    table = make_table([[1.0] * 3] * 3, {0: [1], 1: [2]})
    assert search(table).assignment == ((0, (0,)), (1, (1,)), (2, (2,)))


def test_a_known_plan_that_is_the_best_is_proven(make_table):
    table = make_table([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], {0: [1], 1: [2]})
    assert search(table, known_s=2.9).assignment is None
    assert search(table, known_s=2.9).bound_s >= 2.9
    assert search(table, known_s=3.0).bound_s == pytest.approx(3.0)


def test_a_value_that_comes_back_is_paid_too(make_table):
    far = [[(0.0, 0.0), (2.0, 0.0)], [(2.0, 0.0), (0.0, 0.0)]]
    costs = [[3.0, 3.0], [3.0, 3.0]]
    assert search(make_table(costs, {0: [1]}, transfer=far)).bound_s == pytest.approx(5.0)
    back = make_table(costs, {0: [1]}, transfer=far, feedback={1: [0]})
    assert search(back).bound_s == pytest.approx(5.0)
    dear = make_table(costs, {0: [1]}, transfer=far, feedback={1: [0], 0: [1]})
    assert search(dear).bound_s == pytest.approx(6.0)


def test_a_price_far_above_all_others_spoils_no_sum(make_table):
    wide = [[(0.0, 0.0) if a == b else (1e15 if b == 2 else 0.125, 0.0) for b in range(3)]
            for a in range(3)]  # fmt: skip
    costs = [[0.1, 0.1, None], [0.7, 0.3, 0.2], [0.1, 0.4, 0.6], [None, 0.2, 0.9]]
    table = make_table(costs, {0: [1, 2, 3], 1: [3], 2: [3]}, transfer=wide)
    found = search(table)
    assert found.assignment is not None
    assert found.bound_s == pytest.approx(evaluate(table, found.assignment).interval_s, rel=1e-12)


def test_more_ideals_than_the_limit_leave_the_bound_of_shared_work(make_table):
    found = search(make_table([[1.0, 1.0]] * 8, {}), limit=20)
    assert found.assignment is None
    assert found.bound_s == pytest.approx(4.0)


def test_after_the_deadline_the_bound_still_holds(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 5, {}))
    found = least_interval(problem, 2, INFINITY, perf_counter() - 1)
    assert found.assignment is None
    assert found.bound_s == pytest.approx(2.5)


def test_without_any_plan_the_bound_is_infinite(make_table):
    alone = [[(0.0, 0.0), None], [None, (0.0, 0.0)]]
    table = make_table([[1.0, None], [None, 1.0]], {0: [1]}, transfer=alone)
    assert search(table) == replace(search(table), assignment=None, bound_s=INFINITY)


def test_a_plan_over_a_missing_link_is_not_returned(make_table):
    # The cheapest prices come from different engines, so the search takes 0 to 1 for possible.
    links = [[(0.0, 0.0), None, (0.0, 0.0)], [(0.0, 0.0)] * 3, [(0.0, 0.0)] * 3]
    costs = [[1.0, None, 1.0], [None, 1.0, None], [None, None, 1.0]]
    table = make_table(costs, {0: [1], 1: [2]}, transfer=links)
    found = search(table)
    assert found.assignment is None
    assert found.bound_s == pytest.approx(1.0)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_least_interval_is_found_where_prices_know_one_end_only(make_table, every_chain, data):
    table = one_stage_each(data.draw(one_ended(make_table)))
    max_stages = data.draw(st.integers(1, 4))
    plans = every_chain(table, max_stages, 20_000)
    assume(plans is not None)
    best = min((plan.interval for plan in plans), default=INFINITY)
    known = best * data.draw(st.sampled_from([INFINITY, 3.0, 1.0, 0.8])) if best else INFINITY
    found = search(table, max_stages, known)
    assert found.bound_s <= best * CLOSE
    if known > best:
        assert found.bound_s == pytest.approx(best, rel=1e-9, abs=1e-12)
        assert is_legal(table, found.assignment, max_stages)
        assert evaluate(table, found.assignment).interval_s == pytest.approx(
            best, rel=1e-9, abs=1e-12
        )
    else:
        assert found.bound_s >= known / CLOSE


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_bound_holds_and_the_plan_is_legal_on_any_table(all_tables, every_chain, data):
    table = one_stage_each(data.draw(all_tables(max_regions=5, features=FEATURES)))
    max_stages = data.draw(st.integers(1, 3))
    plans = every_chain(table, max_stages, 20_000)
    assume(plans is not None)
    best = min((plan.interval for plan in plans), default=INFINITY)
    found = search(table, max_stages)
    assert found.bound_s <= best * CLOSE + 1e-15
    assert found.assignment is None or is_legal(table, found.assignment, max_stages)
