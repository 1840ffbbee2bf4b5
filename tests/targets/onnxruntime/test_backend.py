import platform
from importlib.metadata import version

import onnx
import pytest
from onnx import TensorProto, helper

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Slot, StageModel
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.errors import BuildError
from edgeweave.targets.onnxruntime import BACKEND, backend
from edgeweave.targets.region import Operator, Region
from edgeweave.targets.registry import find_backend

ONE = Quantity(1.0, "test")
X, Y = ValueSpec("x", "tensor(float)", (1,)), ValueSpec("y", "tensor(float)", (1,))
REGION = Region(0, (Operator("Anything", "com.vendor", "n"),), (X,), (Y,), 0, 8, 0, "float32", "d")


def engine(kind="cpu", triple: str | None = f"{platform.machine()}-linux-gnu"):
    target = {} if triple is None else {"mtriple": triple}
    return Engine("e0", kind, "", ("onnxruntime",), {}, ONE, ONE, ONE, llvm_target=target)


def stage():
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return StageModel("s0", Slot("e0", "onnxruntime"), (REGION,), model, (X,), (Y,))


def test_the_registry_finds_it_and_it_eats_onnx():
    assert find_backend("onnxruntime") is BACKEND
    assert (BACKEND.name, BACKEND.consumes) == ("onnxruntime", "onnx")


def test_a_cpu_engine_takes_any_operator():
    assert BACKEND.refusal(REGION, engine()) is None


@pytest.mark.parametrize("kind", ["gpu", "npu", "dsp"])
def test_an_engine_that_is_no_cpu_is_refused_by_the_rule(kind):
    refusal = BACKEND.refusal(REGION, engine(kind))
    assert refusal is not None
    assert refusal.rule == "onnxruntime.cpu-engine"
    assert f"e0 is a {kind}" in refusal.reason


def test_every_rule_has_its_own_id_and_a_sentence():
    ids = [rule.id for rule in BACKEND.rules]
    assert len(set(ids)) == len(ids)
    assert all(rule.text.endswith(".") for rule in BACKEND.rules)


def test_the_artifact_is_the_stage_s_model(tmp_path):
    artifact = BACKEND.build(stage(), None, engine(), tmp_path / "new")
    assert (artifact.kind, artifact.files, artifact.host_run) == (
        "onnxruntime",
        ("stage.onnx",),
        "measured",
    )
    assert onnx.load(artifact.folder / "stage.onnx") == stage().model


@pytest.mark.parametrize("triple", ["hexagon-unknown-elf", None])
def test_an_engine_of_another_or_an_unknown_architecture_cannot_run_here(tmp_path, triple):
    artifact = BACKEND.build(stage(), None, engine(triple=triple), tmp_path)
    assert artifact.host_run is None
    assert artifact.options.get("triple") == triple


def test_a_model_that_protobuf_cannot_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "PROTOBUF_LIMIT", 10)
    with pytest.raises(BuildError, match="s0: its model has"):
        BACKEND.build(stage(), None, engine(), tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match=r"s0: .*file cannot be written"):
        BACKEND.build(stage(), None, engine(), tmp_path / "file")


def test_the_fingerprint_names_the_versions():
    assert version("onnxruntime") in BACKEND.fingerprint()
    assert version("onnx") in BACKEND.fingerprint()
