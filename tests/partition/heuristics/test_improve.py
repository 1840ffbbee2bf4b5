from dataclasses import replace
from itertools import product
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import broken_constraint, check, evaluate, schedule
from edgeweave.partition.heuristics.baselines import baselines, valid
from edgeweave.partition.heuristics.improve import joins, polish, splits
from edgeweave.partition.heuristics.incremental import Placed
from edgeweave.partition.heuristics.staging import cut_into_stages
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.problem import Problem


def _start(data, problem):
    """A valid plan of any slots, or None."""
    takers = [[s for s, c in enumerate(row) if c < INFINITY] for row in problem.seconds]
    slots = [data.draw(st.sampled_from(row)) for row in takers]
    return valid(problem, cut_into_stages(problem, slots))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_join_and_split_is_a_valid_plan_that_moves_one_region(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=8)))
    start = _start(data, problem)
    if start is None:
        return
    most = len(start.stages) + data.draw(st.integers(0, 2))
    slot_of = {r: stage.slot for stage in start.stages for r in stage.regions}
    state = Placed(problem, start.assignment)

    def is_sound(region, target):
        expected = state.tried(region, target)
        here = state.stage_of[region]
        state.move(region, target)
        changed, slot = state.assignment(), state.slot[target]
        state.move(region, here)
        stage_of = {r: k for k, (_, regions) in enumerate(changed) for r in regions}
        assert {r: changed[k][0] for r, k in stage_of.items()} == {**slot_of, region: slot}
        assert all(stage_of[a] <= stage_of[b] for a, b in problem.edges)
        if expected is not None:
            check(problem, changed)
            numbers = schedule(problem, changed)
            assert expected.latency_s == pytest.approx(numbers.latency_s)
            assert expected.interval_s == pytest.approx(numbers.interval_s)
        return len(changed)

    for region in range(problem.size):
        for stage in list(joins(state, region)):
            assert is_sound(region, stage) <= len(start.stages)
    for stage in state.used:
        for region, alone in splits(state, stage, most):
            for target in alone:
                assert is_sound(region, target) <= most
    assert state.assignment() == start.assignment


def test_a_region_inside_a_stage_splits_it(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 3, {0: [1], 1: [2]}))
    state = Placed(problem, [(0, (0, 1, 2))])
    found = {}
    for region, alone in splits(state, 0, 3):
        state.move(region, alone[1])
        found[region] = state.assignment()
        state.move(region, 0)
    assert found == {
        0: ((1, (0,)), (0, (1, 2))),
        1: ((0, (0,)), (1, (1,)), (0, (2,))),
        2: ((0, (0, 1)), (1, (2,))),
    }
    assert [region for region, _ in splits(state, 0, 2)] == [0, 2]
    assert list(splits(state, 0, 1)) == []


def test_splits_that_are_not_looked_at_to_the_end_leave_the_placement_as_it_was(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 3, {0: [1], 1: [2]}))
    state = Placed(problem, [(0, (0, 1, 2))])
    tries = splits(state, 0, 3)
    next(tries)
    assert state.members[0] == {0}
    tries.close()
    assert state.assignment() == ((0, (0, 1, 2)),)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_polishing_never_harms_and_keeps_every_rule(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=8)))
    start = _start(data, problem)
    if start is None:
        return
    objective = data.draw(st.sampled_from(list(Objective)))
    if start.value(objective) == INFINITY:
        return
    most = len(start.stages) + data.draw(st.integers(0, 2))
    longest = data.draw(st.sampled_from([INFINITY, start.latency_s]))
    end = perf_counter() + 10
    found = polish(
        problem, start, objective, most, lambda plan: plan.latency_s <= longest * (1 + 1e-9), end
    )
    assert found == evaluate(problem.table, found.assignment)
    assert found.value(objective) <= start.value(objective)
    assert found.latency_s <= longest * (1 + 1e-9)
    assert len(found.stages) <= most
    assert broken_constraint(problem, found.assignment) is None


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_polished_is_no_worse_than_any_plan_of_one_stage_on_another_slot(tables, data):
    problem = Problem(data.draw(tables(max_regions=8)))
    for baseline in baselines(problem, Request(Objective.INTERVAL)):
        if baseline.schedule is None:
            continue
        end = perf_counter() + 10
        found = polish(problem, baseline.schedule, Objective.INTERVAL, 4, lambda plan: True, end)
        stages = found.assignment
        for k, slot in product(range(len(stages)), range(problem.width)):
            other = valid(problem, (*stages[:k], (slot, stages[k][1]), *stages[k + 1 :]))
            if other is not None:
                assert other.interval_s >= found.interval_s * (1 - 1e-8)


def test_polishing_balances_two_engines(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 6, {r: [r + 1] for r in range(5)}))
    start = schedule(problem, [(0, (0,)), (1, (1, 2, 3, 4, 5))])
    end = perf_counter() + 10
    better = polish(problem, start, Objective.INTERVAL, 2, lambda plan: True, end)
    assert better.interval_s == 3.0
    kept = polish(problem, start, Objective.INTERVAL, 2, lambda plan: False, end)
    assert kept == start


def test_a_border_moves_over_a_dear_transfer(make_table):
    # Between the first two regions of the second stage a transfer costs 9: only both together pay.
    prices = [[(0.0, 0.0), (0.0, 1.0)], [(0.0, 1.0), (0.0, 0.0)]]
    table = make_table([[1.0, 1.0]] * 6, {r: [r + 1] for r in range(5)}, transfer=prices)
    values = tuple(replace(v, nbytes=9 * (v.producer == 1)) for v in table.values)
    problem = Problem(replace(table, values=values))
    start = schedule(problem, [(0, (0,)), (1, (1, 2, 3, 4, 5))])
    end = perf_counter() + 10
    better = polish(problem, start, Objective.INTERVAL, 2, lambda plan: True, end)
    assert better.assignment == ((0, (0, 1, 2)), (1, (3, 4, 5)))


def test_a_region_takes_along_what_depends_on_it(make_table):
    # 0 -> 1 -> 2 on one branch, 0 -> 3 on another; only 1 with 2 is faster on the other engine,
    # and what stands last in the order, 3, must not go with them.
    costs = [[1.0, 9.0], [4.0, 4.0], [4.0, 1.0], [1.0, 9.0], [9.0, 1.0]]
    dear = [[(0.0, 0.0), (3.0, 0.0)], [(3.0, 0.0), (0.0, 0.0)]]
    problem = Problem(make_table(costs, {0: [1, 3], 1: [2], 2: [4]}, transfer=dear))
    start = schedule(problem, [(0, (0, 1, 2, 3)), (1, (4,))])
    end = perf_counter() + 10
    better = polish(problem, start, Objective.INTERVAL, 2, lambda plan: True, end)
    assert better.interval_s == min(
        schedule(problem, stages).interval_s
        for stages in (
            [(0, (0, 1, 3)), (1, (2, 4))],
            [(0, (0, 3)), (1, (1, 2, 4))],
        )
    )


def test_polishing_stops_at_the_deadline(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 6, {r: [r + 1] for r in range(5)}))
    start = schedule(problem, [(0, (0,)), (1, (1, 2, 3, 4, 5))])
    assert polish(problem, start, Objective.INTERVAL, 2, lambda plan: True, 0.0) == start
