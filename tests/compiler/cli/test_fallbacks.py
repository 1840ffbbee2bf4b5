"""What counts as a fallback, and what is a choice."""

from __future__ import annotations

import pytest

from edgeweave.compiler.cli.fallbacks import find_fallbacks
from edgeweave.partition.costs import Source
from edgeweave.partition.plan import (
    Alternative,
    Certificate,
    Objective,
    Placement,
    Plan,
    Request,
)
from edgeweave.targets.backend import Slot

CPU, ORT, OTHER = Slot("cpu0", "cpu"), Slot("cpu0", "onnxruntime"), Slot("npu", "vendor")
LOST = Alternative(CPU, "lost", "", "would add 1 ms on the latency")
REFUSED = Alternative(CPU, "refused", "cpu.operators", "TVM's importer has no Knit")
DIFFERENT = Alternative(CPU, "refused", "checked.different", "its code differs")


def plan(*placed):
    return Plan(
        board="host",
        request=Request(),
        stages=(),
        placements=tuple(
            Placement(f"r{i}", slot, 0, 1.0, Source.ROOFLINE, tuple(others))
            for i, (slot, others) in enumerate(placed)
        ),
        latency_s=1.0,
        interval_s=1.0,
        interval_limit="cpu0",
        energy_j=None,
        certificate=Certificate(Objective.LATENCY, 1.0, 1.0, True, "", "", 0.0),
        baselines=(),
        meets=True,
        shortfall=(),
    )


def built(planned, kept, fault=""):
    def data(slot):
        return {"engine": slot.engine, "backend": slot.backend}

    return [
        {
            "stage": "s0",
            "planned": data(planned),
            "slot": data(kept),
            "seconds": None,
            "candidates": [
                {"slot": data(planned), "seconds": None, "fault": fault},
                {"slot": data(kept), "seconds": 1.0, "fault": ""},
            ],
        }
    ]


def test_nothing_falls_back_where_tvm_takes_all():
    found = find_fallbacks(plan((CPU, []), (CPU, [])))
    assert found.sentence == "fallback: none of 2 regions"
    assert found.to_json() == {"count": 0, "chosen_by_cost": 0, "regions": []}


def test_a_cheaper_region_is_a_choice_and_a_refused_one_a_fallback():
    refused_elsewhere = Alternative(OTHER, "refused", "backend.missing", "not installed")
    found = find_fallbacks(
        plan(
            (ORT, [LOST, refused_elsewhere]), (ORT, [REFUSED]), (ORT, [REFUSED]), (ORT, [DIFFERENT])
        )
    )
    assert found.by_cost == 1
    assert [entry.region for entry in found.found] == ["r1", "r2", "r3"]
    assert found.choice == "chosen: 1 of 4 regions run on ONNX Runtime because it costs less there"
    assert found.sentence == (
        "fallback: 3 of 4 regions run on ONNX Runtime because nothing else can: "
        "2x TVM's importer has no Knit [cpu.operators]; 1x its code differs [checked.different]"
    )


def test_a_region_whose_only_backend_is_onnx_runtime_is_neither():
    found = find_fallbacks(plan((ORT, [])))
    assert (found.found, found.by_cost) == ((), 0)


def test_a_stage_that_was_cheaper_when_built_is_a_choice():
    found = find_fallbacks(plan((CPU, [LOST])), built(CPU, ORT))
    assert (len(found.found), found.by_cost) == (0, 1)


def test_a_stage_that_was_unusable_when_built_fell_back():
    found = find_fallbacks(plan((CPU, []), (CPU, [])), built(CPU, ORT, "it fails when run: no"))
    assert [(entry.rule, entry.reason) for entry in found.found] == [
        ("build", "it fails when run: no")
    ] * 2
    assert found.found[0].slot == ORT


@pytest.mark.parametrize("others", [[LOST], [REFUSED]])
def test_a_stage_that_was_built_for_tvm_after_all_is_no_fallback(others):
    found = find_fallbacks(plan((ORT, others)), built(ORT, CPU))
    assert (found.found, found.by_cost) == ((), 0)
