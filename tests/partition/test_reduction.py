from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.baselines import baselines
from edgeweave.partition.evaluate import check, schedule
from edgeweave.partition.plan import Request
from edgeweave.partition.problem import Problem
from edgeweave.partition.reduction import identical_engines, in_canonical_order, reduce_slots


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
def test_standing_in_never_makes_a_plan_worse(tables, data):
    problem = Problem(data.draw(tables(max_regions=8)))
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
