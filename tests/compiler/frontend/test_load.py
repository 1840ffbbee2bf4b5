from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend import load, load_model

RELU = "g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }"


def refused(source, **options) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(source, **options)
    return caught.value


def test_a_model_loads_from_a_file_and_from_memory_alike(build, tmp_path):
    proto = build(RELU)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    from_file, from_memory = load_model(path), load_model(proto)
    assert from_file.digest == from_memory.digest
    assert from_file.path == path
    assert [s.shape for s in from_file.inputs + from_file.outputs] == [(2, 3), (2, 3)]


def test_a_model_in_memory_is_not_changed_by_loading_it(build):
    proto = build("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    before = proto.SerializeToString()
    load_model(proto, {"x": (2, 3)})
    assert proto.SerializeToString() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello, this is a text file", "is a text file"),
        ('{"name": "é"}'.encode(), "is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (bytes(range(256)), "is truncated or damaged"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no ONNX graph"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_its_reason(tmp_path, content, reason):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    error = refused(path)
    assert error.subject == str(path)
    assert reason in error.reason
    assert error.next_step


def test_a_text_cut_within_a_character_is_still_seen_as_text(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(("a" + "é" * 4000).encode())
    assert "text file" in refused(path).reason


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_a_truncated_model_is_refused_as_truncated(build, tmp_path, cut):
    content = build(
        "g (float[2,64] x) => (float[2,64] y) { y = MatMul(x, w) }",
        {"w": np.random.default_rng(0).random((64, 64), dtype=np.float32)},
    ).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: int(len(content) * cut)])
    assert "truncated or damaged" in refused(path).reason


def test_a_directory_is_refused_as_a_directory(tmp_path):
    assert "is a directory" in refused(tmp_path).reason


def test_a_missing_file_is_refused_as_missing(tmp_path):
    assert "does not exist" in refused(tmp_path / "absent.onnx").reason


def test_an_unreadable_file_is_refused_with_the_systems_reason(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x")

    def denied(_self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "cannot be read: Permission denied" in refused(path).reason


def test_a_file_over_2_gib_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no disk
    error = refused(path)
    assert "2 GiB" in error.reason
    assert "external data" in error.next_step


def test_a_model_over_2_gib_in_memory_is_refused(build, monkeypatch):
    proto = build(RELU)
    monkeypatch.setattr(load, "LARGEST_PROTO", len(proto.SerializeToString()) - 1)
    assert "over 2 GiB" in refused(proto).reason


def test_an_operator_set_older_than_7_is_taken_with_a_warning(build):
    model = load_model(build(RELU, opset=6))
    assert "operator set 6 is older than 7" in model.warnings[0]


def test_weights_listed_as_inputs_become_initializers_only(build, counts):
    graph = "g (float[2,3] x, float[3] w) => (float[2,3] y) { y = Add(x, w) }"
    model = load_model(build(graph, {"w": np.ones(3, np.float32)}))
    assert [spec.name for spec in model.inputs] == ["x"]
    assert [info.name for info in model.original.graph.input] == ["x"]
    assert counts(model)["weights-as-inputs"] == 1


def test_weights_listed_as_inputs_are_stripped_from_the_oldest_file_formats_too(build):
    graph = "g (float[2,3] x, float[3] w) => (float[2,3] y) { y = Add(x, w) }"
    proto = build(graph, {"w": np.ones(3, np.float32)}, opset=8)
    proto.ir_version = 3
    assert [spec.name for spec in load_model(proto).inputs] == ["x"]


def test_an_ir_version_newer_than_onnx_runtime_is_lowered_and_counted(build, counts):
    proto = build(RELU)
    proto.ir_version = onnx.IR_VERSION + 5
    model = load_model(proto)
    assert counts(model)["ir-version"] >= 5
    assert model.original.ir_version == onnx.IR_VERSION + 5 - counts(model)["ir-version"]


def test_nodes_out_of_order_are_sorted_and_counted(build, counts, operators):
    proto = build("g (float[2,3] x) => (float[2,3] y) { a = Relu(x) y = Exp(a) }")
    proto.graph.node.reverse()
    model = load_model(proto)
    assert operators(model) == ["Relu", "Exp"]
    assert counts(model)["node-order"] == 1


def test_nodes_out_of_order_within_a_branch_are_sorted(build):
    proto = build(
        """g (bool c, float[2] x) => (float[2] y) {
             y = If (c) <then_branch = t () => (float[2] p) { q = Relu(x) p = Exp(q) },
                         else_branch = e () => (float[2] r) { r = Neg(x) }>
           }"""
    )
    branch = next(a.g for a in proto.graph.node[0].attribute if a.name == "then_branch")
    branch.node.reverse()
    assert load_model(proto).original.graph.node[0].op_type == "If"


def test_a_cyclic_graph_is_refused_naming_a_node_on_the_cycle(build):
    proto = build("g (float[2] x) => (float[2] y) { a = Add(x, b) b = Relu(a) y = Exp(b) }")
    error = refused(proto)
    assert "cyclic" in error.reason
    assert "Add node 'a'" in error.reason


def test_a_sparse_weight_becomes_a_dense_one(build, run):
    proto = build("g (float[4] x) => (float[4] y) { y = Add(x, s) }")
    values = onnx.numpy_helper.from_array(np.array([5.0], np.float32), "s")
    indices = onnx.numpy_helper.from_array(np.array([2], np.int64), "s_indices")
    proto.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))
    model = load_model(proto)
    (y,) = run(model.proto, x=np.zeros(4, np.float32))
    np.testing.assert_array_equal(y, [0, 0, 5, 0])


def test_a_sparse_weight_with_coordinates_per_axis_becomes_a_dense_one(build, run):
    proto = build("g (float[2,2] x) => (float[2,2] y) { y = Add(x, s) }")
    values = onnx.numpy_helper.from_array(np.array([5.0], np.float32), "s")
    indices = onnx.numpy_helper.from_array(np.array([[1, 0]], np.int64), "s_indices")
    proto.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [2, 2]))
    (y,) = run(load_model(proto).proto, x=np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(y, [[0, 0], [5, 0]])


def test_nan_and_infinite_weights_are_warned_of_with_their_number(build):
    weight = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    graph = "g (float[4] x) => (float[4] y) { y = Add(x, w) }"
    model = load_model(build(graph, {"w": weight}))
    assert model.warnings == ("weight 'w' holds 1 NaN and 2 infinite of 4 values",)


def test_a_finite_model_has_no_warning(build):
    assert load_model(build(RELU)).warnings == ()


def test_operators_of_onnx_runtimes_own_domain_are_taken(build, operators):
    model = load_model(
        build("g (float[2] x) => (float[2] y) { a = Relu(x) y = com.microsoft.Gelu(a) }")
    )
    assert operators(model) == ["Relu", "Gelu"]
