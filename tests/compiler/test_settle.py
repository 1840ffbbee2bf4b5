from dataclasses import replace

import onnx
import pytest

from edgeweave.compiler import choose
from edgeweave.compiler.errors import BudgetMissedError
from edgeweave.compiler.pipeline import Job, build_bundle, plan_model, silent
from edgeweave.compiler.settle import build_settled
from edgeweave.partition.costs import Cost, Source
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.solve import solve
from edgeweave.runtime.bundle import open_bundle

REQUEST = Request(Objective.INTERVAL, max_stages=2, time_limit_s=4.0)
LAYERS = "".join(f"v{i + 1} = Conv(v{i}, w)\n" for i in range(6))
MODEL = onnx.parser.parse_model(
    f"""<ir_version: 10, opset_import: ["": 18]>
    g (float[1,1,8,8] v0) => (float[1,1,8,8] v6) <float[1,1,1,1] w = {{1}}> {{ {LAYERS} }}"""
)


@pytest.fixture
def steady(monkeypatch):
    """Every region takes a millisecond, whatever else the machine does."""

    def clock(built, _stage, _sample):
        nodes = onnx.load_from_string(built.model).graph.node
        return 1e-3 * sum(node.op_type == "Conv" for node in nodes), ""

    monkeypatch.setattr(choose, "_try", clock)


@pytest.fixture(scope="module")
def planned():
    return plan_model(Job(MODEL, request=REQUEST), check=True)


@pytest.fixture(scope="module")
def misled(planned):
    """A plan from a table in which the first of six equal regions costs as much as the rest."""
    if len(planned.table.slots) != 4:
        pytest.skip("one engine leaves nothing to balance")
    rows = [
        tuple(Cost((5e-3 if i == 0 else 1e-3) + s * 1e-2, Source.ROOFLINE) for s in (1, 0, 1, 0))
        for i in range(6)
    ]
    table = replace(planned.table, costs=tuple(rows))
    wrong = replace(planned, table=table, plan=solve(table, REQUEST, "host"))
    assert sorted(len(stage.regions) for stage in wrong.plan.stages) == [1, 5]
    return wrong


def test_a_plan_from_wrong_costs_is_made_again_from_the_measured_stages(misled, steady, tmp_path):
    steps = []
    settled, built = build_settled(misled, tmp_path, lambda *step: steps.append(step))
    assert [len(stage.regions) for stage in settled.plan.stages] == [3, 3]
    assert settled.plan.request == REQUEST
    assert [choice.seconds for choice in built.choices] == pytest.approx([3e-3, 3e-3])
    assert built.schedule.interval_s == pytest.approx(3e-3, rel=0.1)
    assert "from the measured stages" in {what for *_, what in steps}


def test_what_is_built_belongs_to_the_plan_that_is_returned(misled, steady, tmp_path):
    settled, built = build_settled(misled, tmp_path, silent)
    assert [s.name for s in built.stages] == [s.name for s in settled.plan.stages]
    for stage in built.stages:
        assert all((stage.artifact.folder / file).is_file() for file in stage.artifact.files)


def test_another_board_is_built_as_planned(planned, tmp_path):
    other = replace(planned, board=replace(planned.board, is_host=False))
    settled, built = build_settled(other, tmp_path, silent)
    assert settled.plan == other.plan
    assert all(choice.seconds is None for choice in built.choices)


def test_a_bundle_states_the_times_of_its_stages(misled, steady, tmp_path):
    compiled = build_bundle(misled, tmp_path / "m.bundle")
    with open_bundle(compiled.bundle) as bundle:
        assert bundle.manifest.predicted_interval_s == compiled.schedule.interval_s
        assert [stage.name for stage in bundle.manifest.stages] == [
            stage.name for stage in compiled.planned.plan.stages
        ]


def within_budget(planned, budget_s):
    request = replace(REQUEST, budget_s=budget_s)
    return replace(planned, plan=solve(planned.table, request, "host"))


def test_a_budget_that_the_sums_miss_and_the_built_stages_meet_is_met(misled, steady, tmp_path):
    slow = within_budget(misled, 7e-3)
    assert not slow.plan.meets
    compiled = build_bundle(slow, tmp_path / "m.bundle")
    assert compiled.planned.plan.meets
    assert compiled.planned.plan.shortfall == ()
    assert compiled.schedule.latency_s <= 7e-3


def test_a_budget_that_the_built_stages_miss_is_missed_and_nothing_is_packed(
    planned, steady, tmp_path
):
    rows = [tuple(Cost(1e-5, Source.ROOFLINE) for _ in planned.table.slots) for _ in range(6)]
    quick = within_budget(replace(planned, table=replace(planned.table, costs=tuple(rows))), 5e-3)
    assert quick.plan.meets
    with pytest.raises(BudgetMissedError, match="As built, a frame takes 6"):
        build_bundle(quick, tmp_path / "m.bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_far_below_the_sums_is_refused_without_building(misled, tmp_path):
    with pytest.raises(BudgetMissedError):
        build_bundle(within_budget(misled, 1e-6), tmp_path / "m.bundle")
