from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import broken_constraint, check, schedule
from edgeweave.partition.explain import placements
from edgeweave.partition.heuristics.baselines import valid
from edgeweave.partition.heuristics.staging import cut_into_stages
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.portfolio import Limits
from edgeweave.partition.problem import Problem
from edgeweave.partition.solve import solve

PRICE = [[(0.0, 0.0), (1e-3, 0.0)], [(1e-3, 0.0), (0.0, 0.0)]]


def test_a_refused_slot_is_explained_by_its_rule(make_table):
    table = make_table([[2e-3, 1e-3], [2e-3, None]], {0: [1]}, transfer=PRICE)
    plan = solve(table, Request(), "board")
    refused = plan.placements[1].alternatives[0]
    assert (refused.verdict, refused.rule) == ("refused", "b1.op")
    assert refused.reason == "slot 1 has no such operator"


def test_a_lost_slot_says_what_the_objective_would_gain_or_lose(make_table):
    table = make_table([[2e-3, 3e-3], [2e-3, 9e-3]], {0: [1]}, transfer=PRICE)
    plan = solve(table, Request(), "board")
    lost = plan.placements[0].alternatives[0]
    assert (lost.verdict, str(lost.slot)) == ("lost", "e1/b0")
    assert lost.reason == "would add 2 ms on the latency"


def test_a_move_that_needs_more_stages_than_allowed_compares_the_regions_own_time(make_table):
    table = make_table([[2e-3, 3e-3]] * 3, {0: [1], 1: [2]}, transfer=PRICE)
    plan = solve(table, Request(max_stages=1), "board")
    reason = plan.placements[1].alternatives[0].reason
    assert reason == (
        "moved alone it would need more than 1 stages; "
        "it would add 3 ms on the region's own time with its transfers"
    )


def test_a_slot_without_a_link_is_explained_by_that(make_table):
    table = make_table(
        [[2e-3, 1e-3]] * 2, {0: [1]}, transfer=[[(0.0, 0.0), None], [None, (0.0, 0.0)]]
    )
    plan = solve(table, Request(max_stages=2), "board")
    assert plan.latency_s == 2e-3
    slow = plan.placements[0].alternatives[0]
    assert slow.reason.startswith(("moved alone", "no link"))
    assert "no link carries its values" in slow.reason


def test_a_missed_budget_says_best_bound_and_the_speed_needed(make_table):
    table = make_table([[6e-3, None], [4e-3, None]], {0: [1]}, transfer=PRICE)
    plan = solve(table, Request(budget_s=5e-3), "board")
    assert not plan.meets
    text = "\n".join(plan.shortfall)
    assert "The best latency found is 10 ms, 5 ms over the budget of 5 ms." in text
    assert "can be below 10 ms: the result is optimal." in text
    assert "The budget would have to be at least 10 ms" in text
    assert "e0 computes 10 ms of a frame; with this plan it would have to be 2.00 times" in text
    assert "e1 stays idle: it refuses 100% of the model's work" in text
    assert "slot 1 has no such operator [b1.op] (2x)" in text


def test_a_missed_interval_names_the_limit_and_its_own_bound(make_table):
    table = make_table([[6e-3, None], [4e-3, None]], {0: [1]})
    plan = solve(table, Request(Objective.LATENCY, max_interval_s=5e-3), "board")
    assert not plan.meets
    assert plan.certificate.objective is Objective.INTERVAL
    text = "\n".join(plan.shortfall)
    assert "The best interval found is 10 ms, 5 ms over the limit of 5 ms." in text
    assert "The limit would have to be at least 10 ms" in text


def test_a_budget_that_was_not_proven_out_of_reach_is_not_called_so(make_table):
    # Without search the bound is that of one chain, 3 ms; the best plan is 6 ms.
    table = make_table([[3e-3, 8e-3], [3e-3, 8e-3]], {})
    plan = solve(table, Request(budget_s=4e-3, time_limit_s=1e-6), "board")
    assert not plan.meets
    assert "did not prove the budget out of reach" in "\n".join(plan.shortfall)


def test_an_idle_engine_that_refuses_nothing_is_named_as_such(make_table):
    table = make_table([[1e-3, 9e-3]], {})
    plan = solve(table, Request(budget_s=5e-4), "board")
    assert "e1 stays idle in this plan although it refuses nothing." in plan.shortfall


def test_a_plan_that_meets_its_request_has_no_shortfall(make_table):
    assert solve(make_table([[1e-3]], {}), Request(budget_s=1e-3), "board").shortfall == ()


MIB = 1 << 20


def _reason(table, assignment, region, slot, objective=Objective.LATENCY, max_stages=4):
    problem = Problem(table)
    plan = schedule(problem, assignment)
    found = placements(problem, plan, objective, Limits(), max_stages)[region]
    return next(a.reason for a in found.alternatives if a.slot == table.slots[slot])


def test_a_full_memory_is_named_with_its_size(make_table):
    table = make_table([[2e-3, 1e-3], [2e-3, 3e-3]], {0: [1]}, transfer=PRICE)
    table = replace(table, memory_bytes=(3 * MIB, 2 * MIB), capacity_bytes=(None, 4 * MIB))
    reason = _reason(table, [(1, (0,)), (0, (1,))], 1, 1)
    assert reason.startswith("would break the memory of e1 (5 of 4 MiB); it would not change")


def test_a_group_that_must_stay_together_is_named(make_table):
    table = make_table([[2e-3, 1e-3], [2e-3, 9e-3]], {0: [1]}, transfer=PRICE)
    table = replace(table, colocated=((0, 1),))
    reason = _reason(table, [(0, (0, 1))], 0, 1)
    assert reason.startswith("would separate it from r001, which it must share an engine with; ")


def test_an_engine_with_its_most_stages_is_named(make_table):
    table = make_table([[1e-3, 9e-3]] * 3, {0: [1], 1: [2]}, transfer=PRICE)
    full = replace(table, engine_stages=(1, None))
    reason = _reason(full, [(0, (0, 1, 2))], 1, 1)
    assert reason.startswith("e0 already runs its most stages (1); it would add 10 ms")
    assert "would add" in _reason(table, [(0, (0, 1, 2))], 1, 1)


def test_a_difference_in_energy_is_in_millijoules(make_table):
    table = replace(make_table([[2e-3, 1e-3]], {}), power_w=(1.0, 5.0))
    energy = Objective.ENERGY
    assert _reason(table, [(0, (0,))], 0, 1, energy) == "would add 3 mJ on the energy"
    silent = replace(table, power_w=(1.0, None))
    assert _reason(silent, [(0, (0,))], 0, 1, energy) == (
        "leaves the energy open: not every slot states its power"
    )


def _moves(problem, plan, region, slot):
    """Every plan that differs in the region's slot alone, one stage of its own or another's."""
    stages = plan.assignment
    here = next(k for k, (_, regions) in enumerate(stages) if region in regions)
    rest = [r for r in stages[here][1] if r != region]
    behind = set()
    for r in rest:
        if any(p == region or p in behind for p in problem.predecessors[r]):
            behind.add(r)
    for k, (target, regions) in enumerate(stages):
        if target == slot and k != here:
            joined = [(s, tuple(x for x in own if x != region)) for s, own in stages]
            joined[k] = (slot, tuple(sorted((*regions, region))))
            yield [stage for stage in joined if stage[1]]
    own = stages[here][0]
    front = tuple(r for r in rest if r not in behind)
    parts = [(own, front), (slot, (region,)), (own, tuple(sorted(behind)))]
    yield [*stages[:here], *(part for part in parts if part[1]), *stages[here + 1 :]]


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_difference_is_that_of_the_best_plan_that_moves_the_region_alone(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=7)))
    takers = [[s for s, c in enumerate(row) if c < INFINITY] for row in problem.seconds]
    slots = [data.draw(st.sampled_from(row)) for row in takers]
    plan = valid(problem, cut_into_stages(problem, slots))
    if plan is None:
        return
    most = len(plan.stages) + data.draw(st.integers(0, 2))
    limits = Limits(interval_s=data.draw(st.sampled_from([None, plan.interval_s])))
    objective = data.draw(st.sampled_from([Objective.LATENCY, Objective.INTERVAL]))
    for region, placement in enumerate(placements(problem, plan, objective, limits, most)):
        for alternative in placement.alternatives:
            if alternative.verdict == "refused":
                continue
            slot = problem.table.slots.index(alternative.slot)
            found = [
                trial
                for stages in _moves(problem, plan, region, slot)
                if len(stages) <= most and (trial := _checked(problem, stages)) is not None
            ]
            admitted = [trial for trial in found if limits.admit(trial)]
            if not found:
                own = ("own time" in alternative.reason, "no link" in alternative.reason)
                assert any(own), alternative.reason
                continue
            best = min(trial.value(objective) for trial in admitted or found)
            change = (best - plan.value(objective)) * 1e3
            assert ("break the limit" in alternative.reason) == (not admitted)
            if abs(change) > 1e-3:
                word, number = alternative.reason.split()[1:3]
                assert (word == "add") == (change > 0)
                assert float(number) == pytest.approx(abs(change), rel=6e-3)
            else:
                assert "would not change" in alternative.reason


def _checked(problem, stages):
    try:
        check(problem, stages)
    except PartitionError:
        return None
    assert broken_constraint(problem, stages) is None
    return schedule(problem, stages)
