from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.frontend.external import inline_external_data

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
GRAPH = "g (float[2,3] x) => (float[2,4] y) { y = MatMul(x, w) }"


@pytest.fixture
def saved(build, tmp_path) -> Path:
    """A model whose weight lies in ``w.bin`` beside it."""
    proto = build(GRAPH, {"w": WEIGHT})
    path = tmp_path / "models" / "m.onnx"
    path.parent.mkdir()
    onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def edit(path: Path, **entries: str | None) -> None:
    """Change entries of the weight's external data; None removes one."""
    proto = onnx.load(path, load_external_data=False)
    tensor = proto.graph.initializer[0]
    held = {e.key: e.value for e in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in held.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString())


def refused(path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    return caught.value


def test_external_data_is_read_into_both_protos(saved):
    model = load_model(saved)
    for proto in (model.proto, model.original):
        np.testing.assert_array_equal(
            onnx.numpy_helper.to_array(proto.graph.initializer[0]), WEIGHT
        )


def test_external_data_without_a_length_is_read_by_its_shape(saved):
    edit(saved, length=None, offset=None)
    assert load_model(saved).proto.graph.initializer[0].raw_data == WEIGHT.tobytes()


def test_external_data_at_an_offset_is_read_from_there(saved):
    data = saved.parent / "w.bin"
    data.write_bytes(bytes(64) + WEIGHT.tobytes())
    edit(saved, offset="64")
    assert load_model(saved).proto.graph.initializer[0].raw_data == WEIGHT.tobytes()


def test_external_data_of_a_constant_node_is_read(build, tmp_path):
    (tmp_path / "c.bin").write_bytes(np.array([3.0, 4.0], np.float32).tobytes())
    proto = build(
        "g (float[2] x) => (float[2] y) { c = Constant <value = float[2] {0, 0}> () y = Add(x, c) }"
    )
    tensor = proto.graph.node[0].attribute[0].t
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="c.bin")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = load_model(tmp_path / "m.onnx")
    held = onnx.numpy_helper.to_array(model.proto.graph.initializer[0])
    np.testing.assert_array_equal(held, [3, 4])


def test_a_missing_data_file_is_refused_naming_tensor_and_file(saved):
    (saved.parent / "w.bin").unlink()
    error = refused(saved)
    assert "'w'" in error.subject
    assert "w.bin" in error.reason
    assert "missing" in error.reason


def test_a_truncated_data_file_is_refused_naming_both_sizes(saved):
    (saved.parent / "w.bin").write_bytes(WEIGHT.tobytes()[:-4])
    assert "needs 48 bytes" in refused(saved).reason
    assert "holds 44" in refused(saved).reason


def test_a_length_that_contradicts_the_shape_is_refused(saved):
    edit(saved, length="40")
    assert "40 bytes" in refused(saved).reason
    assert "needs 48" in refused(saved).reason


@pytest.mark.parametrize("offset", ["-8", "two"])
def test_an_offset_that_is_no_position_is_refused(saved, offset):
    edit(saved, offset=offset)
    assert "offset" in refused(saved).reason


def test_external_data_without_a_location_is_refused(saved):
    edit(saved, location=None)
    assert "names no file" in refused(saved).reason


@pytest.mark.parametrize("location", ["../secret.bin", "a/../../secret.bin", "/etc/hostname"])
def test_a_path_that_leaves_the_models_folder_is_refused(saved, location):
    (saved.parent.parent / "secret.bin").write_bytes(bytes(48))
    edit(saved, location=location)
    error = refused(saved)
    assert "leaves the model's folder" in error.reason or "is absolute" in error.reason


@pytest.mark.parametrize("location", ["C:\\secret.bin", "\\secret.bin"])
def test_a_windows_path_that_is_absolute_is_refused(saved, location):
    edit(saved, location=location)
    assert "is absolute" in refused(saved).reason


def test_a_link_that_leaves_the_models_folder_is_refused(saved):
    secret = saved.parent.parent / "secret.bin"
    secret.write_bytes(bytes(48))
    (saved.parent / "w.bin").unlink()
    (saved.parent / "w.bin").symlink_to(secret)
    assert "leaves the model's folder" in refused(saved).reason


def test_every_path_is_checked_before_any_file_is_read(saved, build):
    proto = onnx.load(saved, load_external_data=False)
    bad = proto.graph.initializer.add()
    bad.CopyFrom(proto.graph.initializer[0])
    bad.name = "bad"
    del bad.external_data[:]
    bad.external_data.add(key="location", value="../secret.bin")
    saved.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="'bad'"):
        inline_external_data(proto, saved.parent, 1000)
    assert not proto.graph.initializer[0].raw_data


def test_a_model_in_memory_with_external_data_is_refused(saved):
    proto = onnx.load(saved, load_external_data=False)
    assert "has no folder" in refused(proto).reason


def test_external_data_over_the_limit_of_a_protobuf_is_refused(saved):
    proto = onnx.load(saved, load_external_data=False)
    with pytest.raises(ModelError, match="2 GiB at most"):
        inline_external_data(proto, saved.parent, 47)
