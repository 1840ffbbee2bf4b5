import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.problem import Problem
from edgeweave.partition.search.fractional import share_work

CLOSE = 1e-9


def least_share(costs, weights):
    """The dual by hand: for these weights, each region where it is cheapest."""
    return sum(
        min(w * c for w, c in zip(weights, row, strict=True) if c is not None) for row in costs
    )


def test_two_equal_engines_share_evenly(make_table):
    shares = share_work(Problem(make_table([[4.0, 4.0], [2.0, 2.0]], {0: [1]})))
    assert shares.bound_s == pytest.approx(3.0)
    assert shares.weights == pytest.approx((0.5, 0.5))


def test_a_refused_region_is_not_shared(make_table):
    shares = share_work(Problem(make_table([[4.0, None], [2.0, 2.0]], {})))
    assert shares.bound_s == pytest.approx(4.0)


def test_durations_of_microseconds_are_as_exact_as_seconds(make_table):
    costs = [[3.0, 5.0], [4.0, 2.0], [7.0, 6.0]]
    small = [[c * 1e-6 for c in row] for row in costs]
    full, tiny = (share_work(Problem(make_table(c, {}))).bound_s for c in (costs, small))
    assert tiny == pytest.approx(full * 1e-6, rel=1e-12)


def test_work_that_costs_nothing_has_the_bound_0(make_table):
    shares = share_work(Problem(make_table([[0.0, 0.0]], {})))
    assert shares.bound_s == 0
    assert sum(shares.weights) == pytest.approx(1)


def test_the_fastest_slot_of_an_engine_counts(make_table):
    table = make_table([[4.0, 1.0], [1.0, 4.0]], {}, engines=["a", "a"])
    assert share_work(Problem(table)).bound_s == pytest.approx(2.0)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_plan_has_a_smaller_largest_load(all_tables, every_plan, data):
    table = data.draw(all_tables(max_regions=4))
    shares = share_work(Problem(table))
    assert sum(shares.weights) == pytest.approx(1)
    assert all(w >= 0 for w in shares.weights)
    for plan in every_plan(table, 3):
        assert shares.bound_s <= plan.interval * (1 + CLOSE)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.one_of(st.none(), st.integers(0, 9))] * 2), min_size=1, max_size=6))
def test_for_two_engines_the_bound_is_the_best_of_all_weights(make_table, costs):
    costs = [row if row != (None, None) else (1, 1) for row in costs]
    problem = Problem(make_table(costs, {}))
    # The dual is piecewise linear; its maximum lies where some region is indifferent.
    turns = {0.0, 1.0} | {
        b / (a + b) for a, b in costs if a is not None and b is not None and a + b > 0
    }
    best = max(least_share(costs, (w, 1 - w)) for w in turns)
    assert share_work(problem).bound_s == pytest.approx(best, rel=1e-9, abs=1e-12)
