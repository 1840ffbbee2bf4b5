import json
from dataclasses import replace

import pytest

from edgeweave.compiler.checks import Checks
from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.regions import find_regions
from edgeweave.compiler.stages import build_stages, bundle_content
from edgeweave.partition.plan import Request
from edgeweave.partition.prediction.cost_model import cost_table
from edgeweave.partition.solve import solve
from edgeweave.targets.backend import Refusal
from edgeweave.targets.host import detect_host
from edgeweave.targets.rules import find_refusal

TEXT = """g (float[2,3] x) => (float[2,3] y, float[2,3] p) <float[3,3] w = {1,2,3,4,5,6,7,8,9}> {
    p = MatMul(x, w)
    q = Softmax(p)
    y = Softmax(q)
}"""


@pytest.fixture(scope="module")
def host(cache_folder):
    return detect_host(cache_folder)


def on_backends(*names):
    """The static rules, and each region (by index) on the backend named for it only."""

    def refuse(region, engine, backend):
        if backend != names[region.index]:
            return Refusal("test.placed", "it is placed by the test")
        return find_refusal(region, engine, backend)

    return refuse


@pytest.fixture
def build(canonical, tmp_path):
    """Build the model on a board with its regions on given backends."""

    def run(board, *names):
        model = canonical(TEXT)
        regions = find_regions(model)
        board = replace(board, engines=board.engines[:1], links=())
        table = cost_table(regions.graph, board, {}, on_backends(*names))
        plan = solve(table, Request(time_limit_s=1.0), board.name)
        steps = []
        built = build_stages(
            regions, plan, table, board, Checks(board, None), tmp_path, lambda *s: steps.append(s)
        )
        return model, board, plan, built, steps

    return run


def test_consecutive_regions_of_a_backend_are_one_stage_in_a_folder_of_its_own(build, host):
    elsewhere = replace(host, is_host=False)
    _, _, plan, built, steps = build(elsewhere, "onnxruntime", "cpu", "cpu")
    assert [stage.regions for stage in plan.stages] == [(0,), (1, 2)]
    assert [stage.slot.backend for stage in built.stages] == ["onnxruntime", "cpu"]
    assert [step[:3] for step in steps] == [("build", 0, 2), ("build", 1, 2)]
    assert len({stage.artifact.folder for stage in built.stages}) == 2
    assert all((s.artifact.folder / f).is_file() for s in built.stages for f in s.artifact.files)


def test_stages_of_this_machine_are_timed_and_the_times_enter_the_prediction(build, host):
    _, _, _, built, _ = build(host, "cpu", "cpu", "cpu")
    (choice,) = built.choices
    assert choice.seconds is not None
    assert choice.seconds > 0
    (stage,) = built.stages
    assert stage.predicted_s == pytest.approx(built.schedule.latency_s)


def test_stages_of_another_board_are_not_timed(build, host):
    _, _, _, built, _ = build(replace(host, is_host=False), "cpu", "cpu", "cpu")
    assert [choice.seconds for choice in built.choices] == [None]


def test_the_content_of_a_bundle_tells_the_choices_and_is_plain_json(build, host):
    model, board, plan, built, _ = build(host, "cpu", "cpu", "cpu")
    content = bundle_content(model, board, plan, built, reference=True)
    assert content.plan == json.loads(json.dumps(content.plan))
    assert content.plan["model"] == "model.onnx"
    (told,) = content.plan["build"]
    assert told["slot"]["backend"] == built.choices[0].slot.backend
    assert content.predicted_latency_s == built.schedule.latency_s
    assert content.reference == model.original.SerializeToString(deterministic=True)
    assert bundle_content(model, board, plan, built, reference=False).reference is None


class TooLarge:
    """Stands for a model of over 2 GiB: protobuf refuses to write one with a ValueError."""

    def SerializeToString(self, deterministic):  # noqa: N802 - protobuf's name
        raise ValueError("Message onnx.ModelProto exceeds maximum protobuf size of 2GB")


def test_an_original_too_large_for_a_bundle_is_a_compile_error(build, host):
    model, board, plan, built, _ = build(host, "cpu", "cpu", "cpu")
    large = replace(model, original=TooLarge())
    with pytest.raises(CompileError, match="too large to go into the bundle"):
        bundle_content(large, board, plan, built, reference=True)
