from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.evaluate import broken_constraint, check, schedule
from edgeweave.partition.heuristics.baselines import baselines
from edgeweave.partition.plan import Request
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.reduction import (
    identical_engines,
    in_canonical_order,
    reduce_slots,
    same_in_other_orders,
    take_slots,
)


def test_a_slot_that_refuses_everything_is_dropped(make_table):
    reduction = reduce_slots(Problem(make_table([[1.0, None], [1.0, None]], {})))
    assert reduction.kept == (0,)
    assert reduction.stand_in == (0, None)


def test_a_backend_never_better_than_another_of_its_engine_is_replaced_by_it(make_table):
    costs = [[2.0, 1.0, 1.0], [2.0, 1.0, None]]
    table = make_table(costs, {0: [1]}, engines=["cpu", "cpu", "gpu"])
    reduction = reduce_slots(Problem(table))
    assert reduction.kept == (1, 2)
    assert reduction.shrink([(0, (0, 1))]) == ((0, (0, 1)),)
    assert reduction.expand([(1, (0,)), (0, (1,))]) == ((2, (0,)), (1, (1,)))


def test_a_slot_of_another_engine_is_never_dropped_for_being_slow(make_table):
    assert reduce_slots(Problem(make_table([[1.0, 9.0]], {}))).kept == (0, 1)


def test_two_equal_backends_of_one_engine_leave_one(make_table):
    table = make_table([[1.0, 1.0]], {}, engines=["cpu", "cpu"])
    reduction = reduce_slots(Problem(table))
    assert len(reduction.kept) == 1
    assert reduction.stand_in == (reduction.kept[0],) * 2


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_standing_in_never_makes_a_plan_worse(tables, all_tables, data):
    problem = Problem(data.draw(st.one_of(tables(max_regions=8), all_tables(max_regions=6))))
    reduction = reduce_slots(problem)
    for baseline in baselines(problem, Request()):
        if baseline.schedule is None:
            continue
        small = reduction.shrink(baseline.schedule.assignment)
        check(reduction.problem, small)
        assert reduction.problem.engines
        after = schedule(problem, reduction.expand(small))
        assert after.latency_s <= baseline.schedule.latency_s * (1 + 1e-12)
        assert after.interval_s <= baseline.schedule.interval_s * (1 + 1e-12)
        if baseline.schedule.energy_j is not None:
            assert after.energy_j <= baseline.schedule.energy_j * (1 + 1e-12)


def test_engines_with_the_same_numbers_are_identical(make_table):
    table = make_table([[1.0, 1.0, 2.0], [3.0, 3.0, 1.0]], {0: [1]})
    assert identical_engines(Problem(table)) == ((0, 1),)


def test_engines_with_different_links_are_not_identical(make_table):
    far = [[(0.0, 0.0)] * 3 for _ in range(3)]
    far[0][2] = far[2][0] = (5.0, 0.0)
    table = make_table([[1.0, 1.0, 2.0], [3.0, 3.0, 1.0]], {0: [1]}, transfer=far)
    assert identical_engines(Problem(table)) == ()


def test_identical_engines_are_renamed_in_the_order_of_their_first_use(make_table):
    problem = Problem(make_table([[1.0, 1.0, 1.0]] * 3, {0: [1], 1: [2]}))
    plan = ((2, (0,)), (0, (1,)), (2, (2,)))
    renamed = in_canonical_order(problem, plan)
    assert renamed == ((0, (0,)), (1, (1,)), (0, (2,)))
    assert schedule(problem, renamed).latency_s == schedule(problem, plan).latency_s


TWO_BACKENDS = {"engines": ["cpu", "cpu", "gpu"]}


def kept(table):
    return reduce_slots(Problem(table)).kept


def test_a_faster_slot_that_draws_more_replaces_nothing(make_table):
    costs = [[2.0, 1.0, 1.0]] * 2
    assert kept(make_table(costs, {}, **TWO_BACKENDS, power_w=(1.0, 1.0, 9.0))) == (1, 2)
    assert kept(make_table(costs, {}, **TWO_BACKENDS, power_w=(1.0, 1.5, 9.0))) == (0, 1, 2)
    assert kept(make_table(costs, {}, **TWO_BACKENDS, power_w=(None, 1.5, 9.0))) == (0, 1, 2)


def test_a_faster_slot_that_is_dearer_to_send_from_replaces_nothing(make_table):
    price = [[(0.0, 0.0)] * 3 for _ in range(3)]
    price[1][2] = (0.0, 0.0, 1.0, 0.0)
    table = make_table([[2.0, 1.0, 1.0]] * 2, {0: [1]}, **TWO_BACKENDS, transfer=price)
    assert kept(table) == (0, 1, 2)


def test_a_faster_slot_with_a_dearer_price_of_one_value_replaces_nothing(make_table):
    table = make_table([[2.0, 1.0, 1.0]] * 2, {0: [1]}, **TWO_BACKENDS)
    dear = replace(table.transfers[0][1], fixed_s=3.0)
    rows = [list(row) for row in table.transfers]
    rows[2][1] = dear
    given = tuple(tuple(row) for row in rows)
    assert kept(replace(table, prices=(given,))) == (0, 1, 2)


def test_a_faster_slot_that_others_wait_for_the_memory_with_replaces_nothing(make_table):
    law = Contention(100.0)
    table = make_table([[2.0, 1.0, None]] * 2, {}, **TWO_BACKENDS, dram_bytes=9, contention=law)
    assert kept(table) == (0, 1)


def test_fewer_slots_keep_what_belongs_to_them_and_their_engines(make_table):
    table = make_table(
        [[1.0, 2.0, 3.0]] * 2,
        {0: [1]},
        engines=["a", "b", "a"],
        power_w=(1.0, 2.0, 3.0),
        memory_bytes=(1, 1),
        capacity_bytes=(10, 20),
        engine_stages=(4, None),
        prices=(tuple(tuple(None for _ in range(3)) for _ in range(3)),),
    )
    small = take_slots(table, [1, 2])
    assert small.engines == ("b", "a")
    assert small.power_w == (2.0, 3.0)
    assert small.capacity_bytes == (20, 10)
    assert small.engine_stages == (None, 4)
    assert small.prices == (((None, None), (None, None)),)


@pytest.mark.parametrize(
    "difference",
    [
        {"power_w": (1.0, 2.0)},
        {"engine_stages": (1, None)},
        {"capacity_bytes": (1, 2), "memory_bytes": (1, 1)},
        {"transfer": [[(0.0, 0.0), (1.0, 0.0, 1.0, 0.0)], [(1.0, 0.0, 2.0, 0.0), (0.0, 0.0)]]},
    ],
)
def test_engines_that_differ_in_one_limit_or_price_are_not_identical(make_table, difference):
    table = make_table([[1.0, 1.0]] * 2, {0: [1]}, **difference)
    assert identical_engines(Problem(table)) == ()


def test_stages_that_may_change_places_do_so_and_no_others(make_table):
    problem = Problem(make_table([[1.0, 2.0, 3.0]] * 3, {0: [2]}))
    plan = ((0, (0,)), (1, (1,)), (2, (2,)))
    orders = set(same_in_other_orders(problem, plan, 100))
    assert orders == {
        plan,
        ((1, (1,)), (0, (0,)), (2, (2,))),
        ((0, (0,)), (2, (2,)), (1, (1,))),
    }
    assert len(list(same_in_other_orders(problem, plan, 2))) == 2


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_plans_in_other_orders_have_the_same_numbers(all_tables, data):
    problem = Problem(data.draw(all_tables(6)))
    for baseline in baselines(problem, Request()):
        if baseline.schedule is None:
            continue
        for other in same_in_other_orders(problem, baseline.schedule.assignment, 20):
            again = schedule(problem, other)
            assert broken_constraint(problem, other) is None
            assert again.latency_s == pytest.approx(baseline.schedule.latency_s)
            assert again.interval_s == pytest.approx(baseline.schedule.interval_s)
