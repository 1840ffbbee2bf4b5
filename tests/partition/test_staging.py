"""Stages after the search: neighbours merged, and equal costs decided by the board's order."""

from __future__ import annotations

from edgeweave.partition.costs import Cost, CostTable, Source, Transfer
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.problem import Problem
from edgeweave.partition.solve import solve
from edgeweave.partition.staging import prefer_first_listed
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
