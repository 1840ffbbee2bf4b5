from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.frontend.load import opset

MODELS = Path(__file__).parents[3].parent / "shared" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def model_file(name: str) -> Path:
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def test_twinlitenet_loses_its_denormals_and_dead_channels_and_computes_the_same(counts, run):
    model = load_model(model_file("twinlitenet.onnx"))
    assert model.warnings == ()
    assert counts(model)["denormals"] == 49_786
    assert counts(model)["zero-channels"] > 0
    assert opset(model.proto) == 13
    for a, b in zip(run(model.original), run(model.proto), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_rfb320_is_upgraded_and_folded_and_computes_the_same(counts, run, operators):
    model = load_model(model_file("rfb320.onnx"))
    assert model.warnings == ()
    assert counts(model)["batch-norm"] == 35
    assert not {"BatchNormalization", "Shape", "Constant", "Unsqueeze"} & set(operators(model))
    assert [spec.shape for spec in model.outputs] == [(1, 4420, 2), (1, 4420, 4)]
    for a, b in zip(run(model.original), run(model.proto), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "densenet121"])
def test_a_light_model_of_onnx_gets_its_weights_and_gives_the_shipped_output(name, run, operators):
    model = load_model(LIGHT / f"light_{name}.onnx")
    assert model.warnings == ()
    assert not {"ConstantOfShape", "Dropout", "Sum", "Unsqueeze"} & set(operators(model))
    given = onnx.TensorProto.FromString((LIGHT / f"light_{name}_output_0.pb").read_bytes())
    # The suite's own input: the positions 0, 1, 2 … divided by their number.
    shape = tuple(d or 0 for d in model.inputs[0].shape or ())
    size = int(np.prod(shape))
    image = (np.arange(size).reshape(shape) / size).astype(np.float32)
    (result,) = run(model.proto, **{model.inputs[0].name: image})
    np.testing.assert_allclose(result, onnx.numpy_helper.to_array(given), rtol=1e-3, atol=1e-6)


def test_every_value_of_the_real_models_has_a_type():
    for path in (model_file("rfb320.onnx"), LIGHT / "light_squeezenet.onnx"):
        graph = load_model(path).proto.graph
        typed = {info.name for info in (*graph.value_info, *graph.output)}
        assert {name for node in graph.node for name in node.output} <= typed
