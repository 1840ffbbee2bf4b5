"""What would make a request feasible: what is said to be enough is, what is ruled out is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY, Cost
from edgeweave.partition.evaluate import schedule
from edgeweave.partition.heuristics.baselines import valid
from edgeweave.partition.heuristics.staging import cut_into_stages
from edgeweave.partition.plan import Certificate, Objective, Request
from edgeweave.partition.problem import Problem
from edgeweave.partition.relaxations import relaxations
from edgeweave.targets.backend import Refusal

CHAIN = {0: [1]}
PRICE = [[(0.0, 0.0), (1e-3, 0.0)], [(1e-3, 0.0), (0.0, 0.0)]]


def _certificate(plan, objective, bound=0.0):
    value = plan.value(objective)
    return Certificate(objective, value, bound, bound >= value, "any plan", "none", 0.0)


def _relax(table, assignment, request, bound=0.0, objective=Objective.LATENCY):
    problem = Problem(table)
    plan = schedule(problem, assignment)
    found = relaxations(problem, plan, request, _certificate(plan, objective, bound))
    return {(r.kind, r.subject): r for r in found}


def _faster(table, engine, speed):
    def cost(known, slot):
        if isinstance(known, Refusal) or table.slots[slot].engine != engine:
            return known
        return Cost(known.seconds / speed, known.source)

    return replace(
        table, costs=tuple(tuple(cost(c, s) for s, c in enumerate(row)) for row in table.costs)
    )


def test_a_plan_that_meets_its_request_needs_no_relaxation(make_table):
    assert _relax(make_table([[1e-3]], {}), [(0, (0,))], Request(budget_s=1e-3)) == {}


def test_the_budget_says_what_is_proven_and_what_was_found(make_table):
    table = make_table([[6e-3], [4e-3]], CHAIN)
    plan, request = [(0, (0, 1))], Request(budget_s=5e-3)
    proven = _relax(table, plan, request, bound=10e-3)["budget", "latency"]
    assert (proven.needed, proven.proven) == (10e-3, True)
    assert proven.text == "The budget would have to be at least 10 ms on this board."
    between = _relax(table, plan, request, bound=8e-3)["budget", "latency"]
    assert not between.proven
    assert between.text == (
        "The budget would have to be at least 8 ms on this board; 10 ms is enough."
    )
    unknown = _relax(table, plan, request, bound=2e-3)["budget", "latency"]
    assert not unknown.proven
    assert "did not prove the budget out of reach" in unknown.text


def test_the_speed_an_engine_needs_is_the_least_for_a_chain(make_table):
    table = make_table([[6e-3, None], [4e-3, 9e-3]], CHAIN, transfer=PRICE)
    found = _relax(table, [(0, (0, 1))], Request(budget_s=5e-3), bound=10e-3)
    e0 = found["engine", "e0"]
    assert e0.needed == pytest.approx(2.0, rel=1e-3)
    assert e0.proven
    assert e0.text == (
        "e0 computes 10 ms of a frame; with this plan it would have to be 2.00 times as fast, "
        "and less is not enough."
    )
    # However fast e1 were, r0 alone takes 6 ms.
    e1 = found["engine", "e1"]
    assert (e1.needed, e1.proven) == (None, True)
    assert e1.text == "e1 is not used; however fast it were, no plan would meet the request."


def test_an_idle_engine_may_be_fast_enough_with_another_plan(make_table):
    table = make_table([[6e-3, 8e-3], [4e-3, 6e-3]], CHAIN, transfer=PRICE)
    e1 = _relax(table, [(0, (0, 1))], Request(budget_s=5e-3))["engine", "e1"]
    assert e1.needed == pytest.approx(2.8, rel=0.03)
    assert "e1 is not used; with another plan" in e1.text
    problem = Problem(_faster(table, "e1", e1.needed))
    assert schedule(problem, [(1, (0, 1))]).latency_s <= 5e-3 * (1 + 1e-9)


def test_one_more_stage_is_named_where_it_is_enough(make_table):
    costs = [[1e-3, 9e-3], [9e-3, 1e-3], [1e-3, 9e-3]]
    table = make_table(costs, {0: [1], 1: [2]})
    request = Request(budget_s=4e-3, max_stages=2)
    plan = [(0, (0,)), (1, (1, 2))]
    found = _relax(table, plan, request, bound=11e-3)["stages", "stages"]
    assert (found.needed, found.proven) == (3, True)
    assert found.text == (
        "With 3 stages instead of 2 a plan meets the request, and with fewer none does."
    )
    open_question = _relax(table, plan, request, bound=1e-3)["stages", "stages"]
    assert not open_question.proven
    assert open_question.text.endswith("a plan meets the request.")


def test_more_stages_are_ruled_out_by_a_bound_for_any_number(make_table):
    table = make_table([[6e-3, 8e-3], [4e-3, 6e-3], [1e-3, 1e-3]], {0: [1], 1: [2]})
    found = _relax(table, [(0, (0, 1, 2))], Request(budget_s=5e-3, max_stages=1))
    assert found["stages", "latency"].needed is None
    assert found["stages", "latency"].proven
    assert "with any number of them the latency is at least 11 ms" in (
        found["stages", "latency"].text
    )


def _with_precision(table, cells):
    rows = [list(row) for row in table.costs]
    for r, s in cells:
        rows[r][s] = Refusal("engine.precision", "engine e1 computes int8; the region is float32")
    return replace(table, costs=tuple(map(tuple, rows)))


def test_a_precision_is_named_where_it_might_help_and_ruled_out_where_it_cannot(make_table):
    table = _with_precision(make_table([[6e-3, 1.0], [4e-3, 1.0]], CHAIN), [(0, 1)])
    might = _relax(table, [(0, (0, 1))], Request(budget_s=5e-3))["precision", "e1"]
    assert (might.needed, might.proven) == (None, False)
    assert might.text == (
        "e1 refuses 1 regions for their precision (engine e1 computes int8; the region is "
        "float32): in one that it computes, the request is not proven out of reach."
    )
    cannot = _relax(table, [(0, (0, 1))], Request(budget_s=3e-3))["precision", "e1"]
    assert cannot.proven
    assert cannot.text.startswith("Even if e1 took at no cost the 1 regions")
    assert cannot.text.endswith("no plan's latency would be below 4 ms.")


def test_no_precision_of_any_engine_is_one_sentence(make_table):
    table = make_table([[6e-3, 1.0, 1.0], [4e-3, 1.0, 1.0]], CHAIN)
    table = _with_precision(table, [(0, 1), (0, 2)])
    found = _relax(table, [(0, (0, 1))], Request(budget_s=3e-3))
    assert "No precision is enough" in found["precision", "every engine"].text
    assert ("precision", "e1") not in found


def test_without_time_little_is_found_and_nothing_is_wrong(make_table):
    table = make_table([[6e-3, 8e-3], [4e-3, 6e-3]], CHAIN, transfer=PRICE)
    problem = Problem(table)
    plan = schedule(problem, [(0, (0, 1))])
    certificate = _certificate(plan, Objective.LATENCY)
    found = relaxations(problem, plan, Request(budget_s=5e-3), certificate, seconds=0.0)
    assert [r.needed for r in found if r.subject == "e0"] == [pytest.approx(2.0, rel=1e-3)]
    assert not any(r.proven for r in found)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_claimed_of_an_engines_speed_is_true_of_every_plan(all_tables, every_plan, data):
    table = data.draw(all_tables(max_regions=4))
    problem = Problem(table)
    takers = [[s for s, c in enumerate(row) if c < INFINITY] for row in problem.seconds]
    slots = [data.draw(st.sampled_from(row)) for row in takers]
    start = valid(problem, cut_into_stages(problem, slots))
    if start is None or len(start.stages) > 3 or start.latency_s == 0:
        return

    def least(table):
        return min(plan.latency for plan in every_plan(table, 3))

    budget = data.draw(st.sampled_from([0.5, 0.8, 0.95])) * least(table)
    if budget == 0:
        return
    found = _relax(table, start.assignment, Request(budget_s=budget, max_stages=3))
    for (kind, name), relaxation in found.items():
        if kind == "engine" and relaxation.needed is not None:
            assert least(_faster(table, name, relaxation.needed)) <= budget * (1 + 1e-6)
            if relaxation.proven:
                assert least(_faster(table, name, 0.99 * relaxation.needed)) > budget
        elif kind == "engine" and relaxation.proven:
            assert least(_faster(table, name, 1e3)) > budget
        elif kind == "budget" and relaxation.proven:
            assert least(table) >= relaxation.needed * (1 - 1e-6)
