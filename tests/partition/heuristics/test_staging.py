"""Stages after the search: neighbours merged, and equal costs decided by the board's order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY, Cost, CostTable, Source, Transfer
from edgeweave.partition.evaluate import schedule
from edgeweave.partition.heuristics.chain_dp import best_latency, make_chain
from edgeweave.partition.heuristics.heft import heft_slots
from edgeweave.partition.heuristics.staging import (
    cut_into_stages,
    fit_to_stages,
    prefer_first_listed,
    tidy,
)
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.problem import Problem
from edgeweave.partition.solve import solve
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value

CALL = Transfer(1e-5, 0.0, Source.ROOFLINE)


def _table(second_refused_by_first: bool) -> CostTable:
    """Two regions in a chain, one engine with two backends of equal cost."""
    same = Cost(1e-3, Source.ROOFLINE)
    refused = Refusal("cpu.operators", "TVM's importer has no LSTM")
    return CostTable(
        regions=("r000 Conv", "r001 LSTM"),
        slots=(Slot("a76", "cpu"), Slot("a76", "onnxruntime")),
        costs=((same, same), (refused if second_refused_by_first else same, same)),
        values=(Value("x", 0, (1,), 4, False),),
        transfers=(
            (Transfer(0, 0, Source.ROOFLINE), CALL),
            (CALL, Transfer(0, 0, Source.ROOFLINE)),
        ),
        stage_overhead_s=(1e-5, 1e-5),
        dram_bytes=(4, 4),
        dram_bytes_per_s=1e10,
    )


def test_equal_costs_go_to_the_backend_listed_first() -> None:
    stages = prefer_first_listed(Problem(_table(False)), [(1, (0, 1))])
    assert stages == ((0, (0, 1)),)


def test_a_refused_region_keeps_its_stage_on_the_later_backend() -> None:
    stages = prefer_first_listed(Problem(_table(True)), [(1, (0, 1))])
    assert stages == ((1, (0, 1)),)


def test_a_split_that_costs_a_hand_over_is_not_made_for_the_order_of_backends() -> None:
    stages = prefer_first_listed(Problem(_table(True)), [(1, (0,)), (1, (1,))])
    assert stages == ((1, (0, 1)),)


def test_a_solved_plan_names_the_preferred_backend() -> None:
    plan = solve(_table(False), Request(Objective.LATENCY, time_limit_s=2.0), "rk3588")
    assert [stage.slot.backend for stage in plan.stages] == ["cpu"]


def _work_moved(problem, slots, slot_of):
    """What leaves its slot, by its cost there; infinite where a slot refuses."""
    total = 0.0
    for region, slot in enumerate(slot_of):
        if problem.seconds[region][slot] == INFINITY:
            return INFINITY
        total += 0.0 if slot == slots[region] else problem.seconds[region][slots[region]]
    return total


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_least_work_moves_when_stages_are_too_many(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=6)))
    slots = [data.draw(st.integers(0, problem.width - 1)) for _ in range(problem.size)]
    most = data.draw(st.integers(1, 4))
    greedy = cut_into_stages(problem, slots)
    found = fit_to_stages(problem, slots, most)
    if len(greedy) <= most:
        assert found == greedy
        return
    order = [region for _, regions in greedy for region in regions]
    least = min(
        _work_moved(problem, slots, [s for _, s in sorted(zip(order, chosen, strict=True))])
        for chosen in product(range(problem.width), repeat=len(order))
        if 1 + sum(a != b for a, b in pairwise(chosen)) <= most
    )
    if found is None:
        assert least == INFINITY
        return
    slot_of = {r: slot for slot, regions in found for r in regions}
    assert len(found) <= most
    assert _work_moved(problem, slots, [slot_of[r] for r in range(problem.size)]) == least


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_cut_of_any_order_is_the_cheapest_by_its_own_prices(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=6)))
    most = data.draw(st.integers(1, 3))
    chain = make_chain(problem, range(problem.size))

    def price(slots):
        total = problem.overhead[slots[0]]
        for r, s in enumerate(slots):
            total += problem.seconds[r][s]
            if r and s != slots[r - 1]:
                total += chain.crossing[r][slots[r - 1]][s] + problem.overhead[s]
        return total

    found = best_latency(problem, chain, range(problem.width), most)
    least = min(
        price(slots)
        for slots in product(range(problem.width), repeat=problem.size)
        if 1 + sum(a != b for a, b in pairwise(slots)) <= most
    )
    if found is None:
        assert least == INFINITY
        return
    slot_of = {r: slot for slot, regions in found for r in regions}
    assert abs(price([slot_of[r] for r in range(problem.size)]) - least) <= 1e-9
    assert len(found) <= most


def test_a_feedback_value_is_paid_at_the_cuts_it_crosses_and_orders_nothing(make_table) -> None:
    price = [[(0.0, 0.0), (1.0, 0.0, 0.5, 0.0)], [(4.0, 0.0), (0.0, 0.0)]]
    table = make_table([[1.0, 1.0]] * 3, {0: [1], 1: [2]}, transfer=price, feedback={2: [1]})
    chain = make_chain(Problem(table), range(3))
    assert chain.crossing[1].tolist() == [[0.0, 1.5], [4.0, 0.0]]
    assert chain.crossing[2].tolist() == [[0.0, 1.5 + 4.0], [4.0 + 1.5, 0.0]]
    assert heft_slots(Problem(table)) == [0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_heft_chooses_slots_that_take_the_regions(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=8)))
    assert all(
        row[s] < INFINITY for row, s in zip(problem.seconds, heft_slots(problem), strict=True)
    )


def test_a_merge_or_a_slot_that_costs_energy_is_not_taken() -> None:
    table = replace(_table(False), power_w=(9.0, 1.0))
    assert prefer_first_listed(Problem(table), [(1, (0, 1))]) == ((1, (0, 1)),)
    problem = Problem(table)
    split = [(0, (0,)), (0, (1,))]
    merged = schedule(problem, tidy(problem, split))
    assert merged.energy_j < schedule(problem, split).energy_j
