from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import evaluate
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.solve import solve

FEATURES = (
    "send", "prices", "feedback", "capacity", "stages", "colocated", "power", "contention"
)  # fmt: skip

thorough = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def column(objective):
    return list(Objective).index(objective)


def expected_answer(plans, request):
    """(what is minimised, least value, met) by the order in which limits give way."""
    admitted = plans
    for other, limit in (
        (Objective.LATENCY, request.budget_s),
        (Objective.INTERVAL, request.max_interval_s),
    ):
        if limit is None or other is request.objective:
            continue
        tighter = [p for p in admitted if p[column(other)] <= limit * (1 + 1e-9)]
        if not tighter:
            return other, min(p[column(other)] for p in admitted), False
        admitted = tighter
    least = min(p[column(request.objective)] for p in admitted)
    own = {Objective.LATENCY: request.budget_s, Objective.INTERVAL: request.max_interval_s}
    limit = own.get(request.objective)
    return request.objective, least, limit is None or least <= limit * (1 + 1e-9)


def check_against(plans, table, request):
    plan = solved(table, request)
    if plan is None:
        assert not plans
        return
    objective, least, met = expected_answer(plans, request)
    numbers = (plan.latency_s, plan.interval_s, plan.energy_j)
    assert plan.certificate.objective is objective
    assert numbers[column(objective)] == pytest.approx(least)
    assert plan.certificate.value == numbers[column(objective)]
    assert plan.certificate.bound <= least * (1 + 1e-12)
    assert plan.certificate.optimal
    assert plan.meets == met
    assert met or plan.shortfall


def draw_request(data, plans, objective, stages):
    def limit(which):
        values = sorted({p[which] for p in plans if p[which] > 0})
        return data.draw(st.sampled_from([None, *values[:: max(1, len(values) // 5)], 0.4]))

    return Request(objective, limit(0), limit(1), stages)


def solved(table, request):
    """The plan, or None where the solver says that there is none."""
    try:
        return solve(table, request, "board")
    except PartitionError as error:
        if error.subject != "placement":
            raise
        return None


@thorough
@given(data=st.data())
@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.INTERVAL])
def test_a_plain_table_s_plan_equals_brute_force(tables, every_plan, objective, data):
    table = data.draw(tables())
    stages = data.draw(st.integers(1, 3))
    plans = every_plan(table, stages)
    check_against(plans, table, draw_request(data, plans, objective, stages))


def check_every_feature(all_tables, every_plan, data, features=FEATURES, regions=4):
    table = data.draw(all_tables(regions, features))
    stages = data.draw(st.integers(1, 3))
    plans = every_plan(table, stages)
    powers = table.power_w
    objective = data.draw(st.sampled_from(list(Objective)[: 3 if powers else 2]))
    check_against(plans, table, draw_request(data, plans, objective, stages))


@thorough
@given(data=st.data())
def test_every_objective_and_constraint_equals_brute_force(all_tables, every_plan, data):
    check_every_feature(all_tables, every_plan, data)


@pytest.mark.long
@settings(thorough, max_examples=1500)
@given(data=st.data())
def test_every_objective_and_constraint_equals_brute_force_at_length(all_tables, every_plan, data):
    check_every_feature(all_tables, every_plan, data, regions=5)


@thorough
@given(data=st.data())
def test_the_least_energy_within_limits_equals_brute_force(all_tables, every_plan, data):
    table = data.draw(all_tables(4, ["power", "send", "stages", "feedback"], at_least=4))
    plans = every_plan(table, 3)
    check_against(plans, table, draw_request(data, plans, Objective.ENERGY, 3))


@settings(thorough, max_examples=10)
@given(data=st.data())
@pytest.mark.parametrize("objective", [Objective.LATENCY, Objective.INTERVAL])
def test_engines_that_slow_each_other_down_equal_brute_force(
    all_tables, every_plan, objective, data
):
    table = data.draw(all_tables(4, ["contention", "send"], at_least=2))
    plans = every_plan(table, 3)
    check_against(plans, table, draw_request(data, plans, objective, 3))


def chain_class(data, make_table):
    """Up to 9 regions on 4 engines, each of which runs at most one stage."""
    n = data.draw(st.integers(7, 9))
    seconds = [1.0, 2.5, 3.0, 4.25, 8.0, 1.7, 3.3, None]
    rng = Random(data.draw(st.integers(0, 2**32 - 1)))
    costs = [[rng.choice(seconds) for _ in range(4)] for _ in range(n)]
    for row in costs:
        row[0] = row[0] or 6.0
    edges = {a: [b for b in range(a + 1, n) if rng.random() < 0.4] for a in range(n)}
    price = [(0.25, 0.0), (1.0, 0.0, 0.5, 0.0), (2.0, 0.0, 1.0, 0.0)]
    moves = rng.random() < 0.5
    return make_table(
        costs,
        edges,
        transfer=[
            [(0.0, 0.0) if a == b else rng.choice(price) for b in range(4)] for a in range(4)
        ],
        overhead=[0.1] * 4,
        feedback={n - 1: [0]} if rng.random() < 0.5 else {},
        power_w=(3.0, 1.0, 2.0, 0.5),
        memory_bytes=(1,) * n,
        capacity_bytes=(None, n // 2, None, n - 2),
        engine_stages=(1,) * 4,
        dram_bytes=100 if moves else 0,
        contention=Contention(60.0) if moves else None,
    )


def check_chain_class(data, make_table, every_chain):
    table = chain_class(data, make_table)
    plans = every_chain(table, 4, 20_000)
    assume(plans is not None)
    objective = data.draw(st.sampled_from(list(Objective)))
    check_against(plans, table, draw_request(data, plans, objective, 4))


@settings(thorough, max_examples=3)
@given(data=st.data())
def test_nine_regions_on_four_engines_equal_brute_force(make_table, every_chain, data):
    check_chain_class(data, make_table, every_chain)


@pytest.mark.long
@settings(thorough, max_examples=150)
@given(data=st.data())
def test_nine_regions_on_four_engines_equal_brute_force_at_length(make_table, every_chain, data):
    check_chain_class(data, make_table, every_chain)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_plan_is_never_worse_than_any_baseline_even_without_time(all_tables, data):
    table = data.draw(all_tables(max_regions=9))
    objective = data.draw(st.sampled_from(list(Objective)[: 3 if table.power_w else 2]))
    limit = data.draw(st.sampled_from([1e-6, 0.01]))
    plan = solved(table, Request(objective, time_limit_s=limit))
    if plan is None:
        return
    value = (plan.latency_s, plan.interval_s, plan.energy_j)[column(objective)]
    for other in plan.baselines:
        theirs = (other.latency_s, other.interval_s, other.energy_j)[column(objective)]
        assert theirs is None or value <= theirs * (1 + 1e-9)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_certificate_cut_short_is_still_valid(all_tables, every_plan, data):
    table = data.draw(all_tables())
    objective = data.draw(st.sampled_from(list(Objective)[: 3 if table.power_w else 2]))
    plan = solved(table, Request(objective, max_stages=3, time_limit_s=0.01))
    if plan is None:
        return
    least = min(numbers[column(objective)] for numbers in every_plan(table, 3))
    assert plan.certificate.bound <= least * (1 + 1e-12)
    assert plan.certificate.value >= least * (1 - 1e-12)
    assert 0 <= plan.certificate.gap <= 1


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_plan_shows_the_numbers_that_evaluate_gives_its_stages(all_tables, data):
    table = data.draw(all_tables())
    objective = data.draw(st.sampled_from(list(Objective)[: 3 if table.power_w else 2]))
    plan = solved(table, Request(objective))
    if plan is None:
        return
    again = evaluate(table, [(table.slots.index(s.slot), s.regions) for s in plan.stages])
    assert (plan.latency_s, plan.interval_s, plan.energy_j) == (
        again.latency_s,
        again.interval_s,
        again.energy_j,
    )
    assert [s.end_s for s in plan.stages] == [s.end_s for s in again.stages]
    assert sum(sum(s.sources.values()) for s in plan.stages) == len(table.regions)
    for region, placement in enumerate(plan.placements):
        assert region in plan.stages[placement.stage].regions
        assert len(placement.alternatives) == len(table.slots) - 1


def test_stages_of_one_slot_side_by_side_are_kept_where_they_help(make_table):
    # x feeds p on the other engine, y fills the wait, z needs p: x and y as one would delay p.
    costs = [[1.0, None], [None, 4.0], [4.0, None], [1.0, None]]
    table = make_table(costs, {0: [1], 1: [3]})
    plan = solve(table, Request(max_stages=4), "board")
    assert plan.latency_s == pytest.approx(6.0)
    assert [s.slot.engine for s in plan.stages].count("e0") == 3


def test_a_hint_better_than_every_baseline_is_used_without_time_to_search(make_table):
    costs = [[1.0, None], [None, 4.0], [4.0, None], [1.0, None]]
    table = make_table(costs, {0: [1], 1: [3]})
    hint = [(0, (0,)), (1, (1,)), (0, (2,)), (0, (3,))]
    plan = solve(table, Request(time_limit_s=1e-6), "board", hint=hint)
    assert plan.latency_s == pytest.approx(6.0)


def test_a_hint_with_a_missing_region_is_an_error(make_table):
    table = make_table([[1.0], [1.0]], {0: [1]})
    with pytest.raises(PartitionError, match="r001: it is not placed"):
        solve(table, Request(), "board", hint=[(0, (0,))])


def test_progress_is_told_values_and_bounds_in_seconds(make_table):
    costs = [[3.0, 2.0], [2.0, 3.0], [4.0, 5.0], [3.0, 3.0]]
    table = make_table(costs, {0: [1, 2], 1: [3]}, overhead=[0.1, 0.1])
    calls = []
    plan = solve(
        table,
        Request(Objective.INTERVAL),
        "b",
        progress=lambda best, low: calls.append((best, low)),
    )
    assert calls
    assert all(low <= best for best, low in calls)
    assert min(best for best, _ in calls) <= plan.latency_s


def test_a_region_that_every_slot_refuses_is_an_error_with_all_reasons(make_table):
    table = make_table([[1.0, 1.0], [None, None]], {0: [1]})
    with pytest.raises(PartitionError) as caught:
        solve(table, Request(), "board")
    text = str(caught.value)
    assert "region r001" in text
    assert "e0/b0: slot 0 has no such operator [b0.op]" in text
    assert "e1/b0: slot 1 has no such operator [b1.op]" in text


def test_refusals_that_need_more_stages_than_allowed_are_an_error(make_table):
    table = make_table([[1.0, None], [None, 1.0], [1.0, None]], {0: [1], 1: [2]})
    with pytest.raises(PartitionError, match="no plan of at most 2 stages exists"):
        solve(table, Request(max_stages=2), "board")
    assert len(solve(table, Request(max_stages=3), "board").stages) == 3


def test_only_a_search_that_ended_claims_that_no_plan_exists(make_table):
    # Each of the two chains fits two stages, both together do not.
    table = make_table([[1.0, None], [None, 1.0], [None, 1.0], [1.0, None]], {0: [1], 2: [3]})
    with pytest.raises(PartitionError, match="was found in time"):
        solve(table, Request(max_stages=2, time_limit_s=1e-6), "board")
    with pytest.raises(PartitionError, match="stages exists"):
        solve(table, Request(max_stages=2), "board")


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (Request(max_stages=0), "0 stages"),
        (Request(budget_s=-1.0), "latency budget"),
        (Request(max_interval_s=0.0), "largest interval"),
        (Request(time_limit_s=float("nan")), "time limit"),
    ],
)
def test_a_malformed_request_is_an_error_that_names_the_field(make_table, request_, word):
    with pytest.raises(PartitionError, match=word):
        solve(make_table([[1.0]], {}), request_, "board")


def test_the_same_interval_is_reached_with_the_least_latency(make_table):
    # Both engines busy 2 s either way; only the plan with the chain cut once overlaps nothing.
    costs = [[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]]
    table = make_table(costs, {1: [2]})
    plan = solve(table, Request(Objective.INTERVAL), "board")
    assert plan.interval_s == pytest.approx(2.0)
    assert plan.latency_s == pytest.approx(2.0)


def test_the_shared_memory_limits_the_interval(make_table):
    table = make_table([[1.0, 1.0], [1.0, 1.0]], {0: [1]}, dram_bytes=2000)
    plan = solve(table, Request(Objective.INTERVAL), "board")
    assert plan.interval_s == pytest.approx(4.0)
    assert plan.interval_limit == "shared memory"
    assert plan.certificate.optimal


def test_energy_without_a_stated_power_is_an_error_that_names_the_slot(make_table):
    table = make_table([[1.0, 1.0, None]], {}, power_w=(2.0, None, None))
    with pytest.raises(PartitionError, match="slot e1/b0: it states no power"):
        solve(table, Request(Objective.ENERGY), "board")


def test_a_slot_that_takes_nothing_needs_no_power(make_table):
    table = make_table([[1.0, None]], {}, power_w=(2.0, None))
    assert solve(table, Request(Objective.ENERGY), "board").energy_j == 2.0


def test_memory_that_holds_no_plan_is_an_error_that_says_what_to_add(make_table):
    table = make_table([[1.0, 1.0]] * 3, {}, memory_bytes=(2, 2, 2), capacity_bytes=(3, 3))
    with pytest.raises(PartitionError, match="stages exists") as caught:
        solve(table, Request(), "board")
    assert "more stages, memory" in str(caught.value)


def test_the_scope_names_all_that_restricts_the_class(make_table):
    table = make_table(
        [[1.0, 1.0]] * 3,
        {},
        dram_bytes=1,
        memory_bytes=(2, 2, 2),
        capacity_bytes=(None, 8),
        engine_stages=(None, 1),
        colocated=((0, 2),),
        contention=Contention(2e9, 1.5),
    )
    plan = solve(table, Request(max_stages=3, max_interval_s=10.0), "board")
    assert plan.certificate.scope == (
        "convex stages in one order, at most 3 stages, at most 1 on e1, this cost table, memory of "
        "e1, 1 group of regions on one engine each, interval at most 10000 ms, memory contention "
        "from 2 GB/s with slope 1.5"
    )
