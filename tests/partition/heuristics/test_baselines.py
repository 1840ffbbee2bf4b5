import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.evaluate import check, evaluate, schedule
from edgeweave.partition.heuristics.baselines import (
    baselines,
    best_single_engine,
    chain_dp,
    greedy_by_priority,
)
from edgeweave.partition.heuristics.chain_dp import WORK_LIMIT, _cut_positions, make_chain
from edgeweave.partition.heuristics.heft import heft_slots, upward_ranks
from edgeweave.partition.heuristics.staging import cut_into_stages, fit_to_stages, tidy
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.problem import Problem


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_every_baseline_is_a_valid_plan_of_few_enough_stages(tables, all_tables, data):
    table = data.draw(st.one_of(tables(max_regions=10), all_tables(max_regions=8)))
    stages = data.draw(st.integers(1, 4))
    objective = data.draw(st.sampled_from(list(Objective)))
    found = baselines(Problem(table), Request(objective, max_stages=stages))
    assert [b.name for b in found] == [
        "best single engine",
        "greedy by priority",
        "HEFT",
        "chain DP",
    ]
    for baseline in found:
        if baseline.schedule is not None:
            assert evaluate(table, baseline.schedule.assignment) == baseline.schedule
            assert len(baseline.schedule.stages) <= stages


def test_the_best_single_engine_switches_between_its_backends(make_table):
    costs = [[1.0, None, 5.0], [None, 1.0, 5.0], [1.0, 9.0, 5.0]]
    table = make_table(costs, {0: [1], 1: [2]}, engines=["cpu", "cpu", "npu"])
    problem = Problem(table)
    assert best_single_engine(problem, 3) == ((0, (0,)), (1, (1,)), (0, (2,)))
    assert best_single_engine(problem, 2) == ((0, (0,)), (1, (1, 2)))
    assert best_single_engine(problem, 1) == ((2, (0, 1, 2)),)


def test_no_single_engine_takes_what_each_engine_refuses_in_part(make_table):
    table = make_table([[1.0, None], [None, 1.0]], {0: [1]})
    assert best_single_engine(Problem(table), 4) is None


def test_the_best_single_engine_holds_all_and_keeps_its_limit_on_stages(make_table):
    costs = [[1.0, None, 5.0, 3.0], [None, 1.0, 5.0, 3.0]]
    given = {
        "engines": ["cpu", "cpu", "npu", "gpu"],
        "memory_bytes": (2, 2),
        "capacity_bytes": (None, 4, 3),
    }
    free = make_table(costs, {0: [1]}, **given)
    assert best_single_engine(Problem(free), 3) == ((0, (0,)), (1, (1,)))
    bound = make_table(costs, {0: [1]}, **given, engine_stages=(1, None, None))
    assert best_single_engine(Problem(bound), 3) == ((2, (0, 1)),)


def test_a_baseline_that_breaks_a_constraint_is_listed_without_numbers(make_table):
    table = make_table([[4.0, 1.0], [1.0, 4.0]], {}, colocated=((0, 1),), power_w=(1.0, 2.0))
    found = {b.name: b.schedule for b in baselines(Problem(table), Request())}
    assert found["greedy by priority"] is not None
    assert found["HEFT"] is None
    assert found["best single engine"].energy_j == 5.0


def test_greedy_ignores_what_a_transfer_costs(make_table):
    dear = [[(0.0, 0.0), (9.0, 0.0)], [(9.0, 0.0), (0.0, 0.0)]]
    table = make_table([[4.0, 1.0], [4.0, None], [4.0, 1.0]], {0: [1], 1: [2]}, transfer=dear)
    plan = greedy_by_priority(Problem(table), 4)
    assert plan == ((1, (0,)), (0, (1,)), (1, (2,)))
    assert evaluate(table, plan).latency_s == 24.0


def test_heft_ranks_and_slots_follow_the_published_rules(make_table):
    # Means: 3, 2, 4; mean transfer 1. Ranks from the end: 4, then 2+1+4, then 3+1+7.
    price = [[(0.0, 0.0), (1.0, 0.0)], [(1.0, 0.0), (0.0, 0.0)]]
    table = make_table([[2.0, 4.0], [3.0, 1.0], [4.0, 4.0]], {0: [1], 1: [2]}, transfer=price)
    problem = Problem(table)
    assert upward_ranks(problem) == [11.0, 7.0, 4.0]
    # r1: 2+3 on its producer's engine, 2+1+1 on the other; r2 then stays.
    assert heft_slots(problem) == [0, 1, 1]


def test_heft_uses_a_gap_left_by_a_wait(make_table):
    price = [[(0.0, 0.0), (4.0, 0.0)], [(4.0, 0.0), (0.0, 0.0)]]
    costs = [[1.0, None], [None, 9.0], [1.0, None], [2.0, 30.0]]
    table = make_table(costs, {0: [1], 1: [2]}, transfer=price)
    assert heft_slots(Problem(table)) == [0, 1, 0, 0]


def test_the_chain_dp_for_interval_uses_each_engine_once_and_balances(make_table):
    table = make_table([[1.0, 1.0]] * 6, {r: [r + 1] for r in range(5)})
    plan = chain_dp(Problem(table), Objective.INTERVAL, 4)
    assert [len(regions) for _, regions in plan] == [3, 3]
    assert evaluate(table, plan).interval_s == 3.0


def test_the_chain_dp_for_interval_counts_the_transfer(make_table):
    price = [[(0.0, 0.0), (2.0, 0.0)], [(2.0, 0.0), (0.0, 0.0)]]
    table = make_table([[1.0, 1.0]] * 6, {r: [r + 1] for r in range(5)}, transfer=price)
    plan = chain_dp(Problem(table), Objective.INTERVAL, 4)
    assert evaluate(table, plan).interval_s == 4.0


@settings(max_examples=60, deadline=None)
@given(
    costs=st.lists(
        st.tuples(st.integers(1, 9), st.one_of(st.none(), st.integers(1, 9))),
        min_size=1,
        max_size=6,
    ),
    stages=st.integers(1, 3),
)
def test_the_chain_dp_for_latency_is_exact_on_a_chain(make_table, costs, stages):
    from itertools import combinations, product

    price = [[(0.0, 0.0), (1.0, 0.0)], [(2.0, 0.0), (0.0, 0.0)]]
    n = len(costs)
    table = make_table(costs, {r: [r + 1] for r in range(n - 1)}, transfer=price)
    problem = Problem(table)
    best = float("inf")
    for count in range(1, min(stages, n) + 1):
        for cuts in combinations(range(1, n), count - 1):
            parts = [tuple(range(a, b)) for a, b in zip((0, *cuts), (*cuts, n), strict=True)]
            for slots in product((0, 1), repeat=count):
                best = min(best, schedule(problem, list(zip(slots, parts, strict=True))).latency_s)
    plan = chain_dp(problem, Objective.LATENCY, stages)
    assert plan is not None
    assert schedule(problem, plan).latency_s == pytest.approx(best)


def test_cut_positions_are_thinned_to_the_work_limit(make_table):
    table = make_table([[1.0, 2.0]] * 300, {r: [r + 1] for r in range(299)})
    problem = Problem(table)
    chain = make_chain(problem, range(300))
    assert _cut_positions(problem, chain, 16) == list(range(301))
    thinned = _cut_positions(problem, chain, WORK_LIMIT // 400)
    assert thinned[0] == 0
    assert thinned[-1] == 300
    assert len(thinned) <= 21


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_stages_cut_from_slots_are_convex_and_keep_the_slots(tables, data):
    table = data.draw(tables(max_regions=9))
    problem = Problem(table)
    slots = [data.draw(st.integers(0, problem.width - 1)) for _ in table.regions]
    stages = cut_into_stages(problem, slots)
    assert {r: s for s, regions in stages for r in regions} == dict(enumerate(slots))
    stage_of = {r: k for k, (_, regions) in enumerate(stages) for r in regions}
    assert all(stage_of[a] <= stage_of[b] for a, b in problem.edges)


def test_slots_that_need_too_many_stages_give_way_where_least_work_moves(make_table):
    costs = [[5.0, 5.0], [1.0, 1.0], [5.0, 5.0], [2.0, 2.0]]
    problem = Problem(make_table(costs, {0: [1], 1: [2], 2: [3]}))
    assert fit_to_stages(problem, [0, 1, 0, 1], 2) == ((0, (0, 1, 2)), (1, (3,)))
    assert fit_to_stages(problem, [0, 1, 0, 1], 1) == ((0, (0, 1, 2, 3)),)


def test_neighbours_on_one_slot_are_merged_only_where_nothing_waits_for_it(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 3, {0: [1], 1: [2]}, overhead=[0.5, 0.5]))
    split = ((0, (0,)), (0, (1,)), (1, (2,)))
    assert tidy(problem, split) == ((0, (0, 1)), (1, (2,)))
    waiting = Problem(make_table([[1.0, 9.0], [9.0, 4.0], [4.0, 9.0]], {0: [1]}))
    kept = ((0, (0,)), (0, (2,)), (1, (1,)))
    check(waiting, kept)
    assert tidy(waiting, kept) == kept
