"""Models, boards and requests that cannot be used: one message each, and the status."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeweave.targets.board_file import bundled_boards

BOARD = """
name = "mine"
description = "one core"
[memory]
dram_gb_s = { value = 4, origin = "datasheet" }
[[engine]]
name = "a55"
kind = "cpu"
description = "Cortex-A55"
backends = ["cpu", "onnxruntime"]
cores = [0]
llvm_target = { mtriple = "aarch64-linux-gnu", mcpu = "cortex-a55" }
clock_ghz = { value = 1.8, origin = "datasheet" }
peak_float32_gops = { value = 14.4, origin = "derived" }
compute_efficiency = { value = 0.143, origin = "published tables" }
memory_efficiency = { value = 0.5, origin = "assumed" }
call_overhead_us = { value = 20, origin = "assumed" }
"""


@pytest.fixture
def refused(edgeweave):
    """Plan a model that cannot be used; what is said of it."""

    def plan(path, *options):
        said = edgeweave("plan", path, "--board", "imx93", *options)
        assert said.out == ""
        *narration, message = said.err.splitlines()
        assert narration in ([], [f"reading the model: {path}"])
        assert message.startswith("error: ")
        return said.status, message

    return plan


def test_a_model_that_is_not_there_is_wrong_usage(edgeweave, tmp_path):
    said = edgeweave("plan", tmp_path / "none.onnx", "--board", "imx93")
    assert (said.status, said.out) == (2, "")
    assert "none.onnx' does not exist" in said.err


def test_a_folder_in_place_of_a_model_is_wrong_usage(edgeweave, tmp_path):
    said = edgeweave("plan", tmp_path, "--board", "imx93")
    assert said.status == 2
    assert "is a directory" in said.err


def test_a_truncated_model_is_told(refused, model, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(model.read_bytes()[:-40])
    status, message = refused(path)
    assert status == 6
    assert "cut.onnx: is truncated or damaged" in message


def test_an_empty_model_file_is_told(refused, tmp_path):
    path = tmp_path / "empty.onnx"
    path.touch()
    assert refused(path) == (6, f"error: {path}: is empty. Fetch or export the model again")


def test_a_text_file_is_told(refused, tmp_path):
    path = tmp_path / "notes.onnx"
    path.write_text("the model is in the other folder\n" * 9)
    status, message = refused(path)
    assert status == 6
    assert "is a text file, not an ONNX model" in message


def test_an_unknown_operator_is_named(refused, save):
    status, message = refused(save("g (float[2] x) => (float[2] y) { y = Knit(x) }"))
    assert status == 6
    assert "Knit" in message


def test_a_cyclic_graph_is_told(refused, save):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [2])],
    )
    path = save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    status, message = refused(path)
    assert status == 6
    assert "cycl" in message or "sorted" in message


def test_an_invalid_graph_is_told(refused, save):
    status, message = refused(save("g (float[2] x) => (float[2] y) { y = Add(x, nowhere) }"))
    assert status == 6
    assert "nowhere" in message


def external(save, location):
    """A model whose weight lies in a file of that name."""
    tensor = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]>\n'
        "g (float[2,2] x) => (float[2,2] y) { y = MatMul(x, w) }"
    )
    proto.graph.initializer.append(tensor)
    return save(proto)


def test_missing_external_data_is_named(refused, save):
    status, message = refused(external(save, "weights.bin"))
    assert status == 6
    assert "weights.bin" in message


def test_external_data_outside_the_folder_of_the_model_is_not_read(refused, save, tmp_path):
    (tmp_path.parent / "secret.bin").write_bytes(bytes(16))
    status, message = refused(external(save, "../secret.bin"))
    assert status == 6
    assert "../secret.bin" in message
    assert "leaves" in message or "outside" in message


def test_an_open_dimension_is_named_with_the_option_that_fixes_it(refused, edgeweave, save):
    path = save("g (float[batch,3] x) => (float[batch,3] y) { y = Relu(x) }")
    status, message = refused(path)
    assert status == 6
    assert "dimension 0 ('batch') is not fixed" in message
    assert "--shape x=1,3" in message
    assert edgeweave("plan", path, "--board", "imx93", "--shape", "x=1,3").status == 0


def test_a_shape_for_an_input_that_is_not_there_names_the_inputs(refused, model):
    status, message = refused(model, "--shape", "image=1,3")
    assert status == 6
    assert message == "error: --shape image: the model has no such input. Inputs: x"


def test_nan_weights_are_warned_of_and_no_error(edgeweave, save):
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]>\n'
        "g (float[2,2] x) => (float[2,2] y) { y = MatMul(x, w) }"
    )
    weight = np.array([[np.nan, 1], [2, 3]], np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    said = edgeweave("plan", save(proto), "--board", "imx93", "--json")
    assert said.status == 0
    (warning,) = json.loads(said.out)["warnings"]
    assert "'w'" in warning
    assert f"warning: {warning}" in said.err


def test_an_unknown_board_is_told_before_the_model_is_read(edgeweave, tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    said = edgeweave("plan", path, "--board", "imx94")
    assert (said.status, said.out) == (3, "")
    assert said.err.startswith("error: board 'imx94': is not known. Did you mean imx93?")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("kind =", "sort =", "sort"),
        ("clock_ghz", "clock", "clock"),
        ("cores = [0]", "cores = [0]\nnpu_cores = 3", "npu_cores"),
        ('= "mine"', "= ", "line 2"),
    ],
)
def test_a_malformed_board_file_is_told_with_file_and_key(
    edgeweave, model, tmp_path, old, new, told
):
    path = tmp_path / "mine.toml"
    path.write_text(BOARD)
    assert edgeweave("plan", model, "--board", path).status == 0
    path.write_text(BOARD.replace(old, new))
    said = edgeweave("plan", model, "--board", path)
    assert (said.status, said.out) == (3, "")
    assert len(said.err.splitlines()) == 1
    assert str(path) in said.err
    assert told in said.err


@pytest.mark.parametrize("board", bundled_boards())
def test_an_impossible_budget_shows_the_best_plan_and_what_would_have_to_change(
    edgeweave, model, board
):
    said = edgeweave("plan", model, "--board", board, "--budget", "1us", "--json")
    assert said.status == 4
    shown = json.loads(said.out)
    assert shown["meets"] is False
    assert shown["latency_s"] >= shown["certificate"]["bound"] > 1e-6
    assert shown["shortfall"][0].startswith("The best latency found is")
    slots = sum(len(place["alternatives"]) + 1 for place in shown["placements"])
    assert slots % len(shown["placements"]) == 0
    assert said.err.splitlines()[-1] == (
        f"error: small.onnx on {board}: no plan meets the request. {shown['shortfall'][0]}"
    )


def test_an_impossible_budget_is_explained_in_text(edgeweave, model):
    said = edgeweave("plan", model, "--board", "imx93", "--budget", "1us", "--fps", "1000000")
    assert said.status == 4
    assert "over the budget of 1.00 us" in said.out
    assert "over the limit of 1.00 us" in said.out
    assert "what would have to change" in said.out
    assert said.out.splitlines()[-1].startswith("fallback: ")
