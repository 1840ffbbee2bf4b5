"""Several models on one board: against all joint plans, simulated runs, and what is said."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import INFINITY
from edgeweave.partition.errors import PartitionError, TableError
from edgeweave.partition.evaluate import evaluate
from edgeweave.partition.several.coschedule import LOAD, RESPONSE, coschedule
from edgeweave.partition.several.joint import Board, ModelRequest
from edgeweave.partition.several.joint_candidates import gather
from edgeweave.partition.several.joint_search import Choice, choose
from edgeweave.partition.several.joint_simulation import simulate_together
from edgeweave.partition.several.same_slots import share_slots

QUICK = 0.3


@pytest.fixture(scope="module")
def chain(make_table):
    """A chain of regions on a CPU and an NPU; a region costs (cpu, npu) seconds."""

    def build(*costs, transfer=1e-4, **optional):
        edges = {r: [r + 1] for r in range(len(costs) - 1)}
        links = [[(0.0, 0.0), (transfer, 0.0)], [(transfer, 0.0), (0.0, 0.0)]]
        return make_table(list(costs), edges, engines=["cpu", "npu"], transfer=links, **optional)

    return build


@pytest.fixture(scope="module")
def light(chain):
    return chain((6e-3, 1e-3), (14e-3, 2e-3), (4e-3, 1.2e-3), (0.5e-3, None))


@pytest.fixture(scope="module")
def heavy(chain):
    return chain((10e-3, 5e-3), (14e-3, 20e-3), (4e-3, 6e-3))


def some_models(rng, build):
    """Two or three models of two or three regions, with whole-number costs."""
    models = []
    for name in "abc"[: rng.choice([2, 2, 3])]:
        n = rng.choice([1, 2, 3])
        costs = [(rng.randint(1, 9), rng.choice([None, *range(1, 9)])) for _ in range(n)]
        budget = rng.choice([None, 5.0, 12.0, 30.0])
        fps = rng.choice([None, 0.02, 0.05, 0.1])
        models.append(ModelRequest(name, build(*costs, transfer=0.5), budget, fps))
    return models


def all_plans(table, max_stages):
    """The schedule of every plan of a chain."""
    n = len(table.regions)
    found = []
    for stage_of in product(range(max_stages), repeat=n):
        if list(stage_of) != sorted(stage_of) or set(stage_of) != set(range(stage_of[-1] + 1)):
            continue
        for slots in product(range(2), repeat=stage_of[-1] + 1):
            stages = [
                (slot, tuple(r for r in range(n) if stage_of[r] == k))
                for k, slot in enumerate(slots)
            ]
            try:
                found.append(evaluate(table, stages))
            except PartitionError:
                continue
    return found


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_choice_is_the_best_of_all_combinations_of_candidates(chain, seed):
    board = Board(share_slots(some_models(Random(seed), chain)))
    pool = gather(board, 2, QUICK)
    row = next(iter(pool.rows.values()))
    found, exhausted = choose(pool, Choice(tuple(row), board.assess(row)), INFINITY)
    assert exhausted
    assert found.assessment.key == min(board.assess(plans).key for plans in product(*pool.plans))
    assert found.assessment == board.assess(found.plans)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_bounds_hold_for_all_joint_plans_and_ours_is_one_of_them(chain, seed):
    models = some_models(Random(seed), chain)[:2]
    plan = coschedule(models, "board", 2, 2 * QUICK)
    board = Board(tuple(models))
    every = [
        [board.candidate(m, schedule, "") for schedule in all_plans(model.table, 2)]
        for m, model in enumerate(models)
    ]
    found = [board.assess(plans) for plans in product(*every)]
    proof = plan.certificate
    worst = min(a.worst if board.has_budgets else a.utilisation for a in found)
    assert proof.bound <= worst * (1 + 1e-6)
    assert proof.load_bound <= min(a.utilisation for a in found) * (1 + 1e-6)
    if proof.infeasible:
        assert not any(a.feasible for a in found)
    if plan.meets:
        assert proof.value >= worst * (1 - 1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_ours_is_no_worse_than_any_baseline_and_bounds_what_is_simulated(chain, seed):
    models = some_models(Random(seed), chain)
    plan = coschedule(models, "board", 3, 2 * QUICK)
    for row in plan.baselines:
        assert plan.meets or not row.meets
        if row.meets:
            assert plan.certificate.value <= row.value * (1 + 1e-9)
    run = simulate_together(plan, [model.table for model in models], 30, None)
    for own, stream in zip(plan.models, run.streams, strict=True):
        if own.response_s is not None:
            assert max(stream.response_s) <= own.response_s * (1 + 1e-9)
            assert own.latency_s >= own.latency_bound_s * (1 - 1e-6)
        if own.budget_s is not None and own.meets:
            assert stream.misses == 0
    assert plan.meets == (not plan.shortfall)


def test_models_share_engines_within_their_budgets(light, heavy):
    models = [ModelRequest("a", light, 0.035, 30), ModelRequest("b", heavy, 0.1, 10)]
    plan = coschedule(models, "board", time_limit_s=2)
    a, b = plan.models
    assert plan.meets
    assert plan.certificate.measure == RESPONSE
    assert (a.priority, b.priority, a.assumed) == (1, 2, "")
    assert a.response_s <= 0.035
    assert plan.certificate.value == pytest.approx(max(a.response_s / 0.035, b.response_s / 0.1))
    for use in plan.engines:
        assert use.total == pytest.approx(sum(use.busy.values()))
        assert use.total < 1
    assert {row.name for row in plan.baselines} >= {
        "each planned alone, least latency", "all on one engine: cpu", "each by HEFT"
    }  # fmt: skip


def test_a_long_stage_of_a_lower_priority_is_cut(chain):
    urgent = ModelRequest("urgent", chain((1.0, None)), 8.0, 0.1)
    late = ModelRequest("late", chain(*[(1.0, None)] * 8), 100.0, 0.01)
    whole = coschedule([urgent, late], "board", 1, QUICK)
    cut = coschedule([urgent, late], "board", 4, 1.0)
    assert not whole.meets
    assert cut.meets
    assert len(cut.models[1].stages) > 1
    assert cut.models[0].response_s < whole.models[0].response_s


def test_the_shorter_budget_goes_first_then_the_shorter_period(light):
    asked = [(None, None), (None, 10), (None, 20), (0.3, 1), (0.2, 1)]
    models = [ModelRequest(f"m{k}", light, *limits) for k, limits in enumerate(asked)]
    assert Board(tuple(models)).priorities == (4, 3, 2, 1, 0)


def test_what_is_assumed_without_a_rate_is_said(light, heavy):
    models = [ModelRequest("a", light, 0.05), ModelRequest("b", heavy)]
    a, b = coschedule(models, "board", time_limit_s=QUICK).models
    assert (a.period_s, a.assumed) == (0.05, "no rate is given: at most one frame per budget")
    assert (b.period_s, b.queue_depth) == (None, 1)
    assert b.assumed.endswith("starts when the one before it has ended")
    assert b.meets


def test_without_rates_and_budgets_the_largest_load_counts(chain):
    one, other = chain((4.0, 4.0)), chain((3.0, 3.0))
    plan = coschedule([ModelRequest("a", one), ModelRequest("b", other)], "board", 2, QUICK)
    assert not plan.rated
    assert plan.certificate.measure == LOAD
    assert plan.certificate.value == pytest.approx(4.0)
    assert plan.certificate.bound == pytest.approx(4.0)
    assert plan.certificate.optimal
    assert plan.meets


def test_models_that_do_not_fit_on_one_engine_are_kept_apart(chain):
    kept = {"memory_bytes": (3, 3), "capacity_bytes": (10, 8)}
    table = chain((5.0, 1.0), (5.0, 1.0), **kept)
    models = [ModelRequest(name, table, 100.0, 0.01) for name in "ab"]
    plan = coschedule(models, "board", 2, QUICK)
    for use in plan.engines:
        assert use.kept_bytes <= use.capacity_bytes
    small = replace(table, capacity_bytes=(6, 5))
    with pytest.raises(PartitionError, match="cannot keep what the models keep on it together"):
        coschedule([replace(model, table=small) for model in models], "board", 2, QUICK)


def test_traffic_counts_against_one_memory(chain):
    table = chain((0.1, 0.1), dram_bytes=400)  # of 1000 bytes/s
    models = [ModelRequest(name, table, None, 1.5) for name in "ab"]
    plan = coschedule(models, "board", 1, QUICK)
    assert plan.memory == pytest.approx(1.2)
    assert not plan.meets
    assert plan.certificate.infeasible
    assert any("shared memory" in sentence for sentence in plan.shortfall)


def advice(plan, pattern):
    found = [re.search(pattern, sentence) for sentence in plan.shortfall]
    return next(match for match in found if match)


def test_the_budget_that_is_advised_does(light, heavy):
    models = [ModelRequest("a", light, 0.013, 150), ModelRequest("b", heavy, 0.1, 30)]
    plan = coschedule(models, "board", 2, 1.0)
    assert not plan.meets
    budget = advice(plan, r"a: its response .* over its budget of 13 ms; .* budget of (\S+) ms")
    longer = [replace(models[0], budget_s=float(budget[1]) / 1e3), models[1]]
    assert coschedule(longer, "board", 2, 1.0).meets
    assert any(s.startswith("Critical is engine ") for s in plan.shortfall)


def test_the_rate_that_is_advised_does(chain):
    models = [
        ModelRequest("often", chain((1.0, None)), 20.0, 0.6),
        ModelRequest("late", chain((5.0, None)), 22.0, 0.05),
    ]
    plan = coschedule(models, "board", 1, QUICK)
    assert not plan.meets
    rate = float(advice(plan, r"--fps often=(\S+) would do instead of 0\.6")[1])
    assert 0.3 < rate < 0.6
    slower = [replace(models[0], fps=rate), models[1]]
    assert coschedule(slower, "board", 1, QUICK).meets


@pytest.mark.parametrize(
    ("budget", "fps", "sentence"),
    [
        (0.004, 10, "No plan does: a latency on an idle board is at least 1.2"),
        (0.1, 500, "No plan does: the engines and the memory are asked for at least"),
        (0.006, 100, "No plan that does was found; none is ruled out by what is proven."),
    ],
)
def test_what_is_proven_is_said_apart_from_what_was_not_found(light, heavy, budget, fps, sentence):
    models = [ModelRequest("a", light, budget, fps), ModelRequest("b", heavy, 0.1, 30)]
    plan = coschedule(models, "board", 4, QUICK)
    assert not plan.meets
    assert plan.shortfall[-1].startswith(sentence)
    assert plan.certificate.infeasible == ("found" not in sentence)


def test_all_rates_are_slowed_where_no_single_one_would_do(chain):
    table = chain((1.0, None))
    models = [ModelRequest(name, table, None, 3.0) for name in "ab"]
    plan = coschedule(models, "board", 1, QUICK)
    share = advice(plan, r"all rates at (\S+)% of what is asked for would do")
    assert float(share[1]) == pytest.approx(16.7, abs=0.5)


def test_a_search_without_time_keeps_what_it_starts_from(light, heavy):
    board = Board((ModelRequest("a", light, 0.03, 30), ModelRequest("b", heavy, 0.1, 10)))
    pool = gather(board, 4, 1e-3)
    row = tuple(pool.rows["each by HEFT"])
    start = Choice(row, board.assess(row))
    assert choose(pool, start, 0.0) == (start, False)


def test_slots_in_another_order_are_the_same_board(light, heavy, make_table):
    other = make_table(
        [[3e-3, 9e-3], [2e-3, 7e-3]], {0: [1]}, engines=["npu", "cpu"],
        transfer=[[(0.0, 0.0), (1e-3, 0.0)], [(2e-3, 0.0), (0.0, 0.0)]], nbytes=3,
        overhead=[1e-3, 2e-3], memory_bytes=(1, 2), capacity_bytes=(10, 20), engine_stages=(2, 3),
        power_w=(1.0, 2.0),
    )  # fmt: skip
    first, second = share_slots([ModelRequest("a", light), ModelRequest("b", other)])
    assert first.table is light
    assert second.table.slots == light.slots
    assert second.table.capacity_bytes == (20, 10)
    for slots in product(range(2), repeat=2):
        own = evaluate(other, [(slots[0], (0,)), (slots[1], (1,))])
        same = evaluate(second.table, [(1 - slots[0], (0,)), (1 - slots[1], (1,))])
        assert same.latency_s == own.latency_s
        assert same.energy_j == pytest.approx(own.energy_j)
    assert coschedule([first, ModelRequest("b", other)], "board", 2, QUICK).models[1].stages


def test_tables_of_two_boards_are_told_apart(light, make_table):
    other = make_table([[1.0, 2.0]], {}, engines=["cpu", "dsp"])
    with pytest.raises(TableError, match="model b: its slots are not those of a: it lacks npu/b0 "
                       "and adds dsp/b0"):  # fmt: skip
        coschedule([ModelRequest("a", light), ModelRequest("b", other)], "board")


def test_two_memories_are_no_board(chain):
    one, other = chain((1.0, 1.0), dram_bytes=1), chain((1.0, 1.0), dram_bytes=1)
    fast = replace(other, dram_bytes_per_s=2e3)
    with pytest.raises(TableError, match="its memory bandwidth is not that of a"):
        share_slots([ModelRequest("a", one), ModelRequest("b", fast)])
    laws = [replace(t, contention=Contention(k)) for t, k in ((one, 10.0), (other, 20.0))]
    with pytest.raises(TableError, match="its law of contention is not that of a"):
        share_slots([ModelRequest("a", laws[0]), ModelRequest("b", laws[1])])


def test_a_request_that_is_none_is_an_error(light, chain):
    with pytest.raises(PartitionError, match="it has no model"):
        coschedule([], "board")
    twice = [ModelRequest("a", light), ModelRequest("a", light)]
    with pytest.raises(PartitionError, match="model a: two models have this name"):
        coschedule(twice, "board")
    for limits in ({"max_stages": 0}, {"time_limit_s": 0.0}):
        with pytest.raises(PartitionError, match="request: "):
            coschedule(twice[:1], "board", **limits)
    with pytest.raises(PartitionError, match=r"a budget of -1\.0 is not above 0"):
        ModelRequest("a", light, -1.0)
    with pytest.raises(PartitionError, match=r"a rate of inf is not above 0"):
        ModelRequest("a", light, None, INFINITY)
    homeless = ModelRequest("b", chain((1.0, 1.0), (None, None)))
    with pytest.raises(PartitionError, match="model b: region r001: no slot of the board takes it"):
        coschedule([ModelRequest("a", light), homeless], "board", 4, QUICK)


def test_one_model_alone_has_its_own_latency(light):
    (own,) = coschedule([ModelRequest("a", light, 0.05, 20)], "board", 4, QUICK).models
    assert own.response_s == pytest.approx(own.latency_s)
    assert own.latency_s == pytest.approx(own.latency_bound_s)
