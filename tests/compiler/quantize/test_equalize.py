"""Channels of similar size compute the same and lose less in int8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.graph import view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.accuracy import measure_accuracy
from edgeweave.compiler.quantize.calibration import Calibration
from edgeweave.compiler.quantize.equalize import equalize
from edgeweave.compiler.quantize.qdq import insert_qdq
from edgeweave.compiler.quantize.ranges import find_channel_ranges, find_ranges

Weighted = Callable[..., onnx.ModelProto]
Run = Callable[[onnx.ModelProto, Mapping[str, Any]], list[Any]]
Progress = Callable[[str, int, int, str], None]

# The channels of a differ by up to a thousand times, and each matters to y.
UNEQUAL = """
g (float[1,3,8,8] x) => (float[1,4,8,8] y)
{
    a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w1, b1) b = PRelu(a, slope)
    c = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=8>(b, w2)
    d = Conv<kernel_shape=[1,1]>(x, w3) e = Add(c, d) f = Relu(e)
    g = AveragePool<kernel_shape=[2,2], strides=[2,2]>(f) h = Concat<axis=1>(g, g)
    y = ConvTranspose<kernel_shape=[2,2], strides=[2,2]>(h, w4)
}
"""
SHAPES = {
    "w1": (8, 3, 3, 3), "b1": (8,), "slope": (8, 1, 1), "w2": (8, 1, 3, 3), "w3": (8, 3, 1, 1),
    "w4": (16, 4, 2, 2),
}  # fmt: skip


@pytest.fixture(scope="module")
def unequal(weighted: Weighted) -> Model:
    sizes = np.geomspace(1, 1000, 8)
    made = weighted(UNEQUAL, SHAPES)
    given = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    given["w1"] = given["w1"] * sizes[:, None, None, None]
    given["b1"] = given["b1"] * sizes
    given["w2"] = given["w2"] / sizes[:, None, None, None]
    return load_model(weighted(UNEQUAL, SHAPES, **given))


def test_the_model_computes_the_same(
    unequal: Model, calibrated: Callable[..., Calibration], progress: Progress, run: Run
) -> None:
    view, frames = view_graph(unequal.proto), calibrated(unequal)
    sizes = find_channel_ranges(view, frames, progress)
    equal = equalize(view, sizes)
    onnx.checker.check_model(equal, full_check=True)
    frame = frames.frames[0]
    expected, actual = run(unequal.proto, frame)[0], run(equal, frame)[0]
    assert np.allclose(expected, actual, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    after = find_channel_ranges(view_graph(equal), frames, progress)["a"]
    before = sizes["a"]
    assert before.max() / before.min() > 10 * after.max() / after.min()


def test_int8_gains(
    unequal: Model, calibrated: Callable[..., Calibration], progress: Progress, run: Run
) -> None:
    frames = calibrated(unequal)
    view = view_graph(unequal.proto)
    expected = [run(unequal.proto, frame) for frame in frames.frames]
    rms = []
    for proto in (unequal.proto, equalize(view, find_channel_ranges(view, frames, progress))):
        quantised = insert_qdq(view_graph(proto), find_ranges(proto, frames, "minmax", progress))
        assert quantised is not None
        rms.append(measure_accuracy(quantised, frames.frames, expected)[0].rms)
    assert rms[1] < 0.5 * rms[0]


def test_channels_stay_where_something_bends_them(
    weighted: Weighted, calibrated: Callable[..., Calibration], progress: Progress
) -> None:
    text = """
    g (float[1,3,4,4] x) => (float[1,2,4,4] y)
    { a = Conv<kernel_shape=[1,1]>(x, w) b = Sigmoid(a) y = Conv<kernel_shape=[1,1]>(b, v) }
    """
    model = load_model(weighted(text, {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1)}))
    view = view_graph(model.proto)
    equal = equalize(view, find_channel_ranges(view, calibrated(model), progress))
    assert equal == model.proto
