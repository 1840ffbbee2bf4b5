from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import Cost
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import evaluate
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.solve import solve

thorough = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def every_plan(table, max_stages):
    """(latency, interval) of every plan, by its own arithmetic, independent of ``evaluate``."""
    n, width = len(table.regions), len(table.slots)
    found = []
    memory = sum(table.dram_bytes) / table.dram_bytes_per_s if sum(table.dram_bytes) else 0.0
    values = [(v.producer, v.consumers, v.nbytes) for v in table.values]
    for stage_of in product(range(max_stages), repeat=n):
        if set(stage_of) != set(range(max(stage_of) + 1)):
            continue
        if any(stage_of[a] > stage_of[c] for a, readers, _ in values for c in readers):
            continue
        for slots in product(range(width), repeat=max(stage_of) + 1):
            numbers = timed(table, values, stage_of, slots)
            if numbers is not None:
                found.append((numbers[0], max(numbers[1], memory)))
    return found


def timed(table, values, stage_of, slots):
    times = [table.stage_overhead_s[s] for s in slots]
    for region, stage in enumerate(stage_of):
        cost = table.costs[region][slots[stage]]
        if not isinstance(cost, Cost):
            return None
        times[stage] += cost.seconds
    needs = [set() for _ in slots]
    for producer, readers, nbytes in values:
        for stage in {stage_of[c] for c in readers} - {stage_of[producer]}:
            needs[stage].add(stage_of[producer])
            a, b = slots[stage_of[producer]], slots[stage]
            if a != b:
                link = table.transfers[a][b]
                if link is None:
                    return None
                times[stage] += link.fixed_s + nbytes * link.s_per_byte
    ends, busy = [], {}
    for stage, slot in enumerate(slots):
        engine = table.slots[slot].engine
        free = [e for e, s in zip(ends, slots, strict=False) if table.slots[s].engine == engine]
        ends.append(max([0.0, *free, *(ends[i] for i in needs[stage])]) + times[stage])
        busy[engine] = busy.get(engine, 0.0) + times[stage]
    return max(ends), max(busy.values())


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
def test_least_latency_equals_brute_force(tables, data):
    table = data.draw(tables())
    stages = data.draw(st.integers(1, 3))
    plans = every_plan(table, stages)
    plan = solved(table, Request(Objective.LATENCY, max_stages=stages))
    if plan is None:
        assert not plans
        return
    assert plan.latency_s == pytest.approx(min(latency for latency, _ in plans))
    assert plan.certificate.optimal
    assert plan.certificate.bound_s <= min(latency for latency, _ in plans) * (1 + 1e-12)
    assert plan.meets


@thorough
@given(data=st.data())
def test_least_interval_within_a_budget_equals_brute_force(tables, data):
    table = data.draw(tables())
    stages = data.draw(st.integers(1, 3))
    plans = every_plan(table, stages)
    latencies = sorted({latency for latency, _ in plans if latency > 0})
    budget = data.draw(st.sampled_from([None, *latencies, 0.7]))
    plan = solved(table, Request(Objective.INTERVAL, budget_s=budget, max_stages=stages))
    if plan is None:
        assert not plans
        return
    admitted = [(i, t) for t, i in plans if budget is None or t <= budget * (1 + 1e-9)]
    assert plan.meets == bool(admitted)
    if not admitted:
        least = min(latency for latency, _ in plans)
        assert plan.latency_s == pytest.approx(least)
        assert plan.certificate.objective is Objective.LATENCY
        assert plan.certificate.bound_s <= least * (1 + 1e-12)
        assert plan.shortfall
        return
    assert plan.interval_s == pytest.approx(min(admitted)[0])
    assert budget is None or plan.latency_s <= budget * (1 + 1e-9)
    assert plan.certificate.optimal
    assert plan.certificate.bound_s <= min(admitted)[0] * (1 + 1e-12)


@thorough
@given(data=st.data())
def test_least_latency_within_a_largest_interval_equals_brute_force(tables, data):
    table = data.draw(tables())
    plans = every_plan(table, 2)
    intervals = sorted({interval for _, interval in plans if interval > 0})
    limit = data.draw(st.sampled_from([*intervals, 0.3]))
    plan = solved(table, Request(Objective.LATENCY, max_interval_s=limit, max_stages=2))
    if plan is None:
        assert not plans
        return
    admitted = [latency for latency, i in plans if i <= limit * (1 + 1e-9)]
    assert plan.meets == bool(admitted)
    if admitted:
        assert plan.latency_s == pytest.approx(min(admitted))
        assert plan.certificate.bound_s <= min(admitted) * (1 + 1e-12)
    else:
        assert plan.interval_s == pytest.approx(min(interval for _, interval in plans))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_plan_is_never_worse_than_any_baseline_even_without_time(tables, data):
    table = data.draw(tables(max_regions=9))
    objective = data.draw(st.sampled_from(list(Objective)))
    limit = data.draw(st.sampled_from([1e-6, 0.01]))
    plan = solved(table, Request(objective, time_limit_s=limit))
    if plan is None:
        return
    value = plan.latency_s if objective is Objective.LATENCY else plan.interval_s
    for other in plan.baselines:
        theirs = other.latency_s if objective is Objective.LATENCY else other.interval_s
        assert theirs is None or value <= theirs * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_certificate_cut_short_is_still_valid(tables, data):
    table = data.draw(tables())
    objective = data.draw(st.sampled_from(list(Objective)))
    plan = solved(table, Request(objective, max_stages=3, time_limit_s=0.01))
    if plan is None:
        return
    column = 0 if objective is Objective.LATENCY else 1
    least = min(numbers[column] for numbers in every_plan(table, 3))
    assert plan.certificate.bound_s <= least * (1 + 1e-12)
    assert plan.certificate.objective_s >= least * (1 - 1e-12)
    assert 0 <= plan.certificate.gap <= 1


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_plan_shows_the_numbers_that_evaluate_gives_its_stages(tables, data):
    table = data.draw(tables())
    plan = solved(table, Request(data.draw(st.sampled_from(list(Objective)))))
    if plan is None:
        return
    again = evaluate(table, [(table.slots.index(s.slot), s.regions) for s in plan.stages])
    assert (plan.latency_s, plan.interval_s) == (again.latency_s, again.interval_s)
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
