from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.frontend.denormals import is_denormal

MATMUL = "g (float[1,4] x) => (float[1,2] y) { y = MatMul(x, w) }"


def weight(model) -> np.ndarray:
    return onnx.numpy_helper.to_array(model.proto.graph.initializer[0])


def matrix(*values: float) -> np.ndarray:
    held = np.ones((4, 2), np.float32)
    held.reshape(-1)[: len(values)] = values
    return held


def test_denormal_weights_become_zero_without_a_sign_and_are_counted(build, counts):
    smallest = np.finfo(np.float32).smallest_normal
    model = load_model(
        build(MATMUL, {"w": matrix(1e-40, -1e-42, smallest, -smallest, 0.0)}),
        skip=["tiny-weights"],
    )
    assert counts(model) == {"denormals": 2}
    flushed = weight(model).reshape(-1)
    np.testing.assert_array_equal(flushed, [0, 0, smallest, -smallest, 0, 1, 1, 1])
    assert not np.signbit(flushed[:2]).any()


def test_the_original_keeps_its_denormal_weights(build):
    proto = build(MATMUL, {"w": matrix(1e-40)})
    assert load_model(proto).original.graph.initializer[0] == proto.graph.initializer[0]


def test_denormals_of_float64_are_found(build, counts):
    graph = "g (double[1,4] x) => (double[1,2] y) { y = MatMul(x, w) }"
    assert (
        counts(load_model(build(graph, {"w": matrix(1).astype(np.float64) * 1e-310})))["denormals"]
        == 8
    )


def test_denormals_of_bfloat16_are_found():
    held = np.array([1e-39, -1e-39, 1.2e-38, 0.0, 1.0], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(is_denormal(held), [True, True, False, False, False])


@given(st.integers(0, 2**32 - 1))
def test_a_float32_is_denormal_when_it_is_not_zero_and_below_the_smallest_normal(bits):
    value = np.array([bits], np.uint32).view(np.float32)
    size = abs(float(value[0]))
    assert bool(is_denormal(value)[0]) == (0 < size < float(np.finfo(np.float32).smallest_normal))


def test_small_float16_weights_are_kept_for_they_matter(build, counts):
    graph = "g (float16[1,4] x) => (float16[1,2] y) { y = MatMul(x, w) }"
    assert counts(load_model(build(graph, {"w": matrix(1e-6).astype(np.float16)}))) == {}


@pytest.mark.parametrize("operator", ["Div", "Max"])
def test_a_denormal_that_is_not_a_linear_weight_is_kept(build, counts, operator):
    graph = f"g (float[4,2] x) => (float[4,2] y) {{ y = {operator}(x, w) }}"
    assert counts(load_model(build(graph, {"w": matrix(1e-40)}))) == {}


def test_a_denormal_that_guards_a_division_is_kept(build, counts, run):
    proto = build(
        "g (float[2] x) => (float[2] y) { z = Sub(x, x) g = Add(z, e) y = Div(e, g) }",
        {"e": np.array(1e-40, np.float32)},
    )
    model = load_model(proto)
    assert counts(model) == {}
    np.testing.assert_array_equal(run(model.proto)[0], run(proto)[0])


def test_weights_below_1e_20_beside_ordinary_ones_become_zero(build, counts):
    model = load_model(build(MATMUL, {"w": matrix(1e-21, -1e-30, 1e-19)}))
    assert counts(model) == {"tiny-weights": 2}
    assert weight(model).reshape(-1)[2] == np.float32(1e-19)


def test_a_layer_of_only_tiny_weights_keeps_them(build, counts):
    assert counts(load_model(build(MATMUL, {"w": matrix(1) * np.float32(1e-21)}))) == {}


def test_tiny_summands_are_kept(build, counts):
    graph = "g (float[4,2] x) => (float[4,2] y) { y = Add(x, w) }"
    assert counts(load_model(build(graph, {"w": matrix(1e-25)}))) == {}
