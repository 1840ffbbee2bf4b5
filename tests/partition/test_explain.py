from edgeweave.partition.plan import Objective, Request
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
