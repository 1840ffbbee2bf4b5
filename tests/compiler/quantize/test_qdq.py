"""The quantised graph: what has which scale, and that it computes what the float model does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.graph import GraphView, view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.calibration import Calibration
from edgeweave.compiler.quantize.points import find_points, with_points
from edgeweave.compiler.quantize.prepare import prepare
from edgeweave.compiler.quantize.qdq import insert_qdq, is_quantised
from edgeweave.compiler.quantize.ranges import find_ranges
from edgeweave.compiler.quantize.steps import output_steps

Weighted = Callable[..., onnx.ModelProto]
Run = Callable[[onnx.ModelProto, Mapping[str, Any]], list[Any]]
Progress = Callable[[str, int, int, str], None]


class Parts:
    """The quantised form of a model, and lookups in it."""

    def __init__(self, model: Model, calibration: Calibration, progress: Progress) -> None:
        self.float_view = view_graph(prepare(model.proto))
        self.ranges = find_ranges(self.float_view.proto, calibration, "minmax", progress)
        found = insert_qdq(self.float_view, self.ranges)
        assert found is not None
        onnx.checker.check_model(found, full_check=True)
        self.proto, self.view = found, view_graph(found)

    def array(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.view.initializers[name])

    def scale(self, value: str) -> tuple[float, int]:
        """Scale and zero point of the QuantizeLinear that reads this value."""
        for node in self.view.nodes:
            if node.op_type == "QuantizeLinear" and node.input[0].startswith(value):
                return float(self.array(node.input[1])), int(self.array(node.input[2]))
        raise AssertionError(f"{value} is not quantised")


@pytest.fixture(scope="module")
def parts(segmenter: Model, calibrated: Callable[..., Calibration], progress: Progress) -> Parts:
    return Parts(segmenter, calibrated(segmenter), progress)


def values_of(view: GraphView, kind: str) -> list[onnx.NodeProto]:
    return [node for node in view.nodes if node.op_type == kind]


def test_every_value_is_int8_and_weights_have_a_scale_per_channel(parts: Parts) -> None:
    for node in values_of(parts.view, "QuantizeLinear"):
        assert parts.array(node.input[1]).shape == ()
        assert parts.array(node.input[2]).dtype == np.int8
    for node in values_of(parts.view, "Conv"):
        weight, *bias = (parts.view.nodes[parts.view.producer[name]] for name in node.input[1:])
        assert parts.array(weight.input[0]).dtype == np.int8
        assert parts.array(weight.input[1]).shape == (8,)
        for found in bias:
            assert parts.array(found.input[0]).dtype == np.int32
            before = parts.view.nodes[parts.view.producer[node.input[0]]]
            product = parts.array(before.input[1]) * parts.array(weight.input[1])
            assert np.allclose(parts.array(found.input[1]), product, rtol=1e-6)


def test_nothing_but_the_borders_is_float(parts: Parts) -> None:
    for node in parts.view.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for name in node.input:
            if name and parts.view.spec(name).dtype == "float32":
                assert parts.view.nodes[parts.view.producer[name]].op_type == "DequantizeLinear"
    for name in parts.view.outputs:
        assert parts.view.nodes[parts.view.producer[name]].op_type == "DequantizeLinear"


def test_slopes_are_int8_with_zero_point_zero(parts: Parts) -> None:
    (node,) = values_of(parts.view, "PRelu")
    slope = parts.view.nodes[parts.view.producer[node.input[1]]]
    assert parts.array(slope.input[0]).dtype == np.int8
    assert parts.array(slope.input[2]) == 0


def test_a_relu_becomes_the_lower_end_of_int8(parts: Parts) -> None:
    assert not values_of(parts.view, "Relu")
    assert parts.scale("d")[1] == -128


def test_it_computes_nearly_what_the_float_model_does(
    parts: Parts, segmenter: Model, calibrated: Callable[..., Calibration], run: Run
) -> None:
    steps = output_steps(parts.view, parts.ranges)
    frame = calibrated(segmenter).frames[0]
    expected, actual = run(segmenter.proto, frame), run(parts.proto, frame)
    for info, a, b in zip(parts.proto.graph.output, expected, actual, strict=True):
        assert 0 < np.abs(a - b).max() < 12 * steps[info.name]


def test_points_give_the_same_numbers_as_the_quantised_model(
    parts: Parts, segmenter: Model, calibrated: Callable[..., Calibration], run: Run
) -> None:
    points = find_points(parts.float_view, parts.proto)
    frame = calibrated(segmenter).frames[0]
    proto = parts.float_view.proto
    trial = with_points(proto, points, list(points.values), list(points.weights))
    # a ReLU that the quantised model leaves to the range is still there, on a rounded value
    steps = output_steps(parts.view, parts.ranges)
    for info, a, b in zip(
        proto.graph.output, run(parts.proto, frame), run(trial, frame), strict=True
    ):
        assert np.abs(a - b).max() <= 1.01 * steps[info.name]
    nothing = with_points(proto, points, [], [])
    assert np.array_equal(run(proto, frame)[0], run(nothing, frame)[0])


MOVES = """
g (float[1,4,8,8] x) => (float[1,8,8,8] y, float[1,16] p)
{
    a = Conv<kernel_shape=[1,1]>(x, w) b = Relu(a) c = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b)
    scales = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>()
    none = Constant<value = float[0] {}>()
    d = Resize<mode="linear">(c, none, scales)
    e = Conv<kernel_shape=[1,1]>(x, v) f = Transpose<perm=[0,1,3,2]>(e)
    y = Concat<axis=1>(d, f)
    g = MaxPool<kernel_shape=[4,4], strides=[4,4]>(b) shape = Constant<value = int64[2] {1, 16}>()
    h = Reshape(g, shape) p = Softmax(h)
}
"""


@pytest.fixture(scope="module")
def moved(weighted: Weighted, calibrated: Callable[..., Calibration], progress: Progress) -> Parts:
    model = load_model(weighted(MOVES, {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1)}))
    return Parts(model, calibrated(model), progress)


def test_moved_numbers_keep_their_scale(moved: Parts) -> None:
    assert moved.scale("c") == moved.scale("b")
    assert moved.scale("d") == moved.scale("b")
    assert moved.scale("f") == moved.scale("e")


def test_what_only_a_concat_reads_has_its_scale(moved: Parts) -> None:
    assert moved.scale("e") == moved.scale("y")


def test_a_clamp_keeps_its_own_scale_before_a_concat(moved: Parts) -> None:
    low, _ = moved.ranges["y"]
    assert low < 0
    assert moved.scale("b")[1] == -128
    assert moved.scale("b") != moved.scale("y")


def test_a_softmax_has_steps_of_a_256th(moved: Parts) -> None:
    assert moved.scale("p") == (1 / 256, -128)


def test_models_say_whether_they_are_quantised(
    parts: Parts, segmenter: Model, canonical_proto: Callable[[onnx.ModelProto], Model]
) -> None:
    assert is_quantised(canonical_proto(parts.proto))
    assert not is_quantised(segmenter)


def test_weights_in_groups_have_one_scale(
    weighted: Weighted,
    calibrated: Callable[..., Calibration],
    progress: Progress,
    run: Run,
) -> None:
    text = """
    g (float[1,4,6,6] x) => (float[1,6,12,12] y, float[1,4,6,6] z)
    {
        y = ConvTranspose<kernel_shape=[2,2], strides=[2,2], group=2>(x, w, b)
        z = MatMul(m, x)
    }
    """
    shapes = {"w": (4, 3, 2, 2), "b": (6,), "m": (6, 6)}
    model = load_model(weighted(text, shapes))
    parts = Parts(model, calibrated(model), progress)
    frame = calibrated(model).frames[0]
    for a, b in zip(run(model.proto, frame), run(parts.proto, frame), strict=True):
        assert np.abs(a - b).max() < 0.05 * np.abs(a).max()


ODD = {
    "bias of a row": ("y = Gemm(x, w, b)", {"b": (1, 4)}),
    "one bias": ("y = Gemm(x, w, b)", {"b": ()}),
    "bias of one": ("y = Gemm(x, w, b)", {"b": (1,)}),
    "bias per row": ("z = Gemm(x, w, b) y = MatMul(z, v)", {"b": (2, 1), "v": (4, 4)}),
    "factors": ("y = Gemm<alpha=2.0, beta=0.5>(x, w, b)", {"b": (4,)}),
    "no bias": ("y = Gemm(x, w)", {}),
}


@pytest.mark.parametrize(("body", "shapes"), ODD.values(), ids=ODD.keys())
def test_gemm_takes_any_bias(
    weighted: Weighted,
    calibrated: Callable[..., Calibration],
    progress: Progress,
    run: Run,
    body: str,
    shapes: dict[str, tuple[int, ...]],
) -> None:
    text = f"g (float[2,8] x) => (float[2,4] y) {{ {body} }}"
    model = load_model(weighted(text, {"w": (8, 4)} | shapes))
    parts = Parts(model, calibrated(model), progress)
    frame = calibrated(model).frames[0]
    expected, actual = run(model.proto, frame)[0], run(parts.proto, frame)[0]
    assert np.abs(expected - actual).max() < 0.05 * np.abs(expected).max()


def test_an_output_in_front_of_a_clamp_keeps_its_negative_numbers(
    weighted: Weighted, calibrated: Callable[..., Calibration], progress: Progress, run: Run
) -> None:
    shape = "float[1,4,4,4]"
    text = f"g ({shape} x) => ({shape} y, {shape} a) {{ a = Conv(x, w) y = Relu(a) }}"
    model = load_model(weighted(text, {"w": (4, 4, 1, 1)}))
    parts = Parts(model, calibrated(model), progress)
    frame = calibrated(model).frames[0]
    for expected, actual in zip(run(model.proto, frame), run(parts.proto, frame), strict=True):
        assert np.abs(expected - actual).max() < 0.05 * np.abs(expected).max()
    assert run(parts.proto, frame)[1].min() < 0
