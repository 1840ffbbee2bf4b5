from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.frontend.load import opset

SLICE = (
    "g (float[4,4] x) => (float[2,4] y) { y = Slice <axes = [0], starts = [1], ends = [3]> (x) }"
)


@pytest.mark.parametrize("version", [7, 8, 9])
def test_an_old_operator_set_is_upgraded_to_13(build, counts, run, version):
    proto = build(SLICE, opset=version)
    model = load_model(proto)
    assert opset(model.proto) == 13
    assert opset(model.original) == version
    assert counts(model)["opset"] == 13 - version
    assert len(model.proto.graph.node[0].input) >= 3
    np.testing.assert_array_equal(run(model.proto)[0], run(proto)[0])


@pytest.mark.parametrize("version", [13, 17, 21])
def test_a_newer_operator_set_stays(build, counts, version):
    proto = build("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=version)
    model = load_model(proto)
    assert opset(model.proto) == version
    assert counts(model) == {}


def test_large_weights_survive_the_upgrade(build, run):
    weights = {"w": np.random.default_rng(1).random((64, 64), dtype=np.float32)}
    proto = build("g (float[2,64] x) => (float[2,64] y) { y = MatMul(x, w) }", weights, opset=9)
    model = load_model(proto)
    np.testing.assert_array_equal(
        onnx.numpy_helper.to_array(model.proto.graph.initializer[0]), weights["w"]
    )
    np.testing.assert_array_equal(run(model.proto)[0], run(proto)[0])


def test_an_upgrade_that_fails_is_left_out_with_a_warning(build):
    # Batch normalisation per activation went away with operator set 9.
    ones = np.ones((2, 3), np.float32)
    proto = build(
        """g (float[1,2,3] x) => (float[1,2,3] y) {
             y = BatchNormalization <spatial = 0> (x, s, b, m, v)
           }""",
        {"s": ones, "b": ones, "m": ones, "v": ones},
        opset=8,
    )
    model = load_model(proto)
    assert any("rewrite 'opset' was left out" in warning for warning in model.warnings)
    assert opset(model.proto) == 8


def test_an_upgrade_that_changes_the_result_is_left_out_with_a_warning(build, run):
    # Scan of operator set 8 has a batch axis, which the converter does not add.
    proto = build(
        """g (float[1,2] h, float[1,3,2] x) => (float[1,2] z, float[1,3,2] y) {
             z, y = Scan <num_scan_inputs = 1,
                          body = b (float[2] i, float[2] n) => (float[2] o, float[2] s) {
                            o = Add(i, n) s = Identity(o) }> ("", h, x)
           }""",
        opset=8,
    )
    model = load_model(proto)
    assert any("rewrite 'opset' was left out" in warning for warning in model.warnings)
    for a, b in zip(run(proto), run(model.proto), strict=True):
        np.testing.assert_array_equal(a, b)
