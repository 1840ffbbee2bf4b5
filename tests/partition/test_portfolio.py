"""The searches for large graphs, made to place small ones, against brute force."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeweave.partition import portfolio
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.solve import solve

many = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def without_cp_sat(monkeypatch):
    monkeypatch.setattr(portfolio, "FEW_CELLS", 0)
    monkeypatch.setattr(portfolio, "MOST_CELLS", 0)


def plan_of(table, request):
    try:
        return solve(table, request, "board")
    except PartitionError as error:
        if error.subject != "placement":
            raise
        return None


@many
@given(data=st.data())
@pytest.mark.parametrize("objective", list(Objective))
def test_taking_a_graph_apart_proves_no_more_than_is_true(
    without_cp_sat, all_tables, every_plan, objective, data
):
    table = data.draw(all_tables(4, ("power", "send", "stages", "feedback", "prices"), at_least=1))
    if objective is Objective.ENERGY and not table.power_w:
        return
    stages = data.draw(st.integers(1, 3))
    plans = every_plan(table, stages)
    plan = plan_of(table, Request(objective, max_stages=stages, time_limit_s=2.0))
    if plan is None:
        return
    at = list(Objective).index(objective)
    best = min(numbers[at] for numbers in plans)
    assert plan.certificate.bound <= best * (1 + 1e-9)
    assert plan.certificate.value >= best * (1 - 1e-9)
    if plan.certificate.optimal:
        assert plan.certificate.value == pytest.approx(best, rel=2e-6)


@many
@given(data=st.data())
@pytest.mark.parametrize("most", [1, None])
def test_taking_a_graph_apart_finds_the_least_interval(
    without_cp_sat, all_tables, every_plan, most, data
):
    table = data.draw(all_tables(4, ("send", "feedback"), at_least=1))
    if most is not None:
        table = replace(table, engine_stages=(most,) * len(table.engines))
    plans = every_plan(table, 3)
    plan = plan_of(table, Request(Objective.INTERVAL, max_stages=3))
    if not plans:
        assert plan is None
        return
    assert plan is not None
    assert plan.certificate.bound <= min(p.interval for p in plans) * (1 + 1e-9)
    if all(link is not None for row in table.transfers for link in row):
        assert plan.interval_s == pytest.approx(min(p.interval for p in plans), rel=2e-6)


def test_an_answer_that_a_known_plan_contradicts_is_not_believed(make_table, monkeypatch):
    from edgeweave.partition.search.cp_search import Outcome

    def none_exists(*_arguments):
        return Outcome(None, float("inf"), exhausted=True)

    monkeypatch.setattr(portfolio, "search", none_exists)
    table = make_table([[1.0, 2.0], [3.0, 1.0], [1.0, 2.0]], {0: [1], 1: [2]}, overhead=[0.5, 0.5])
    plan = solve(table, Request(Objective.INTERVAL), "board")
    assert plan.certificate.bound < plan.certificate.value
