import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.heuristics.baselines import baselines
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import cut_regions, serial_worst, simple_bound
from edgeweave.partition.search.path_bound import latency_bound


def reachable(problem, start):
    seen, stack = set(), [start]
    while stack:
        for after in problem.successors[stack.pop()]:
            if after not in seen:
                seen.add(after)
                stack.append(after)
    return seen


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_cut_regions_are_those_that_every_other_region_leads_to_or_follows(tables, data):
    problem = Problem(data.draw(tables(max_regions=8)))
    after = [reachable(problem, r) for r in range(problem.size)]
    expected = [
        r
        for r in range(problem.size)
        if all(
            other == r or other in after[r] or r in after[other] for other in range(problem.size)
        )
    ]
    assert cut_regions(problem) == expected


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_baseline_is_below_a_bound(tables, all_tables, data):
    problem = Problem(data.draw(st.one_of(tables(max_regions=9), all_tables(max_regions=7))))
    stages = data.draw(st.integers(1, 4))
    for objective in Objective:
        low = simple_bound(problem, objective) * (1 - 1e-12)
        chains = latency_bound(problem, stages) * (1 - 1e-12)
        for baseline in baselines(problem, Request(objective, max_stages=stages)):
            if baseline.schedule is not None:
                assert low <= baseline.schedule.value(objective)
                assert chains <= baseline.schedule.latency_s


def test_the_bound_on_a_chain_is_its_optimum_for_the_stages_allowed(make_table):
    price = [[(0.0, 0.0), (1.0, 0.0)], [(1.0, 0.0), (0.0, 0.0)]]
    costs = [[1.0, 9.0], [9.0, 1.0], [1.0, 9.0]]
    table = make_table(costs, {0: [1], 1: [2]}, transfer=price, overhead=[0.5, 0.5])
    problem = Problem(table)
    assert latency_bound(problem, 3) == pytest.approx(6.5)
    assert latency_bound(problem, 2) == pytest.approx(11.5)
    assert latency_bound(problem, 1) == pytest.approx(11.5)


def test_the_bound_is_infinite_when_a_chain_needs_more_stages(make_table):
    table = make_table([[1.0, None], [None, 1.0], [1.0, None]], {0: [1], 1: [2]})
    assert latency_bound(Problem(table), 2) == float("inf")


def test_regions_between_two_of_one_stage_run_one_by_one(make_table):
    table = make_table([[1.0]] * 4, {0: [1, 2], 1: [3], 2: [3]})
    assert latency_bound(Problem(table), 1) == 4.0


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_plan_is_below_a_bound(all_tables, every_plan, data):
    table = data.draw(all_tables(4))
    problem = Problem(table)
    plans = every_plan(table, 3)
    low = latency_bound(problem, 3) * (1 - 1e-12)
    assert all(low <= plan.latency for plan in plans)
    for column, objective in enumerate(list(Objective)[: 3 if table.power_w else 2]):
        low = simple_bound(problem, objective) * (1 - 1e-12)
        assert all(low <= plan[column] for plan in plans)
    most = serial_worst(problem, 3) * (1 + 1e-12)
    if table.contention is None:
        assert all(plan.latency <= most for plan in plans)


def test_the_least_energy_takes_each_region_s_most_frugal_slot(make_table):
    table = make_table([[1.0, 4.0], [3.0, 2.0]], {}, overhead=[0.5, 1.0], power_w=(2.0, 1.0))
    assert simple_bound(Problem(table), Objective.ENERGY) == 2.0 + 2.0 + 1.0
