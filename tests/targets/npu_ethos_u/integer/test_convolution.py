"""Convolutions equal LiteRT's reference kernels bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate


def _window(draft: Any) -> dict[str, int]:
    """Random attributes of a convolution; a dilation goes with a stride of 1 as in TensorFlow."""
    stride = (draft.integer(1, 3), draft.integer(1, 3))
    dilation = (draft.integer(1, 3), draft.integer(1, 3)) if draft.integer(0, 1) else (1, 1)
    stride = (1, 1) if dilation != (1, 1) else stride
    return {
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
        "padding": draft.integer(0, 1),
        "fusedActivationFunction": draft.integer(0, 3),
    }


def _size(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    if padding == 0:
        return -(-size // stride)
    return (size - (kernel - 1) * dilation - 1) // stride + 1


def _output_shape(
    fields: dict[str, int], shape: tuple[int, ...], kernel: tuple[int, int], channels: int
) -> tuple[int, ...]:
    height, width = (
        _size(
            shape[axis],
            kernel[axis - 1],
            fields[f"stride{name}"],
            fields[f"dilation{name}Factor"],
            fields["padding"],
        )
        for axis, name in ((1, "H"), (2, "W"))
    )
    return (shape[0], height, width, channels)


def _convolution(draft: Any, groups: int = 1) -> None:
    fields = _window(draft)
    kernel = (draft.integer(1, 4), draft.integer(1, 4))
    depth, channels = draft.integer(1, 9), draft.integer(1, 9) * groups
    shape = (draft.integer(1, 2), draft.integer(10, 17), draft.integer(10, 17), depth * groups)
    x = draft.input(shape)
    w = draft.weights((channels, *kernel, depth), 0, bool(draft.integer(0, 3)))
    inputs = [x, w, draft.bias(channels)]
    y = draft.output(_output_shape(fields, shape, kernel, channels))
    draft.add("CONV_2D", inputs, [y], "Conv2DOptions", 3, **fields)


def test_conv_2d(compare: Any) -> None:
    compare(_convolution, 40)


def test_grouped_conv_2d(compare: Any) -> None:
    compare(lambda draft: _convolution(draft, groups=draft.integer(2, 4)))


def test_conv_2d_with_sums_that_float32_does_not_hold(compare: Any) -> None:
    def build(draft: Any) -> None:
        x = draft.input((1, 4, 4, 700), (0.02, -128))
        y = draft.output((1, 4, 4, 5), (0.2, 0))
        inputs = [x, draft.weights((5, 1, 1, 700), 0), draft.bias(5)]
        draft.add("CONV_2D", inputs, [y], "Conv2DOptions", 3, strideH=1, strideW=1)

    compare(build, 5)


def test_depthwise_conv_2d(compare: Any) -> None:
    def build(draft: Any) -> None:
        fields = _window(draft)
        kernel = (draft.integer(1, 4), draft.integer(1, 4))
        depth, times = draft.integer(1, 9), draft.integer(1, 3)
        shape = (draft.integer(1, 2), draft.integer(10, 17), draft.integer(10, 17), depth)
        x = draft.input(shape)
        w = draft.weights((1, *kernel, depth * times), 3)
        y = draft.output(_output_shape(fields, shape, kernel, depth * times))
        fields["depthMultiplier"] = times
        inputs = [x, w, draft.bias(depth * times)]
        draft.add("DEPTHWISE_CONV_2D", inputs, [y], "DepthwiseConv2DOptions", 3, **fields)

    compare(build, 40)


def test_transpose_conv(compare: Any) -> None:
    def build(draft: Any) -> None:
        kernel = (draft.integer(1, 5), draft.integer(1, 5))
        stride = (draft.integer(1, 3), draft.integer(1, 3))
        padding = draft.integer(0, 1)
        depth, channels = draft.integer(1, 9), draft.integer(1, 9)
        shape = (draft.integer(1, 2), draft.integer(1, 9), draft.integer(1, 9), depth)
        if padding == 0:
            size = [
                n * s - draft.integer(0, s - 1) for n, s in zip(shape[1:3], stride, strict=True)
            ]
        else:
            bounds = zip(shape[1:3], stride, kernel, strict=True)
            size = [(n - 1) * s + k + draft.integer(0, s - 1) for n, s, k in bounds]
        out = (shape[0], *size, channels)
        x = draft.input(shape)
        w = draft.weights((channels, *kernel, depth), 0)
        inputs = [draft.integers(out), w, x]
        if draft.integer(0, 2):
            inputs.append(draft.bias(channels))
        fields = {"strideH": stride[0], "strideW": stride[1], "padding": padding}
        draft.add(
            "TRANSPOSE_CONV", inputs, [draft.output(out)], "TransposeConvOptions", 3, **fields
        )

    compare(build, 40)


def _pointwise(draft: Any, weights: np.ndarray, bias: list[int], output_scale: float) -> bytes:
    x = draft.input((1, 1, 1, weights.shape[3]), (1.0, 0))
    w = draft.writer.constant("w", weights, [1.0])
    b = draft.writer.constant("b", np.array(bias, np.int32), [1.0])
    y = draft.output((1, 1, 1, len(bias)), (output_scale, 0))
    draft.add("CONV_2D", [x, w, b], [y], "Conv2DOptions", 3, strideH=1, strideW=1, padding=1)
    return draft.finish()


def test_a_sum_that_leaves_32_bits_is_refused(draft: Any) -> None:
    blob = _pointwise(draft, np.full((1, 1, 1, 4), 127, np.int8), [2**31 - 1], 4.0)
    with pytest.raises(TargetError, match="a sum and its bias leave 32 bits"):
        evaluate(blob, [np.full((1, 1, 1, 4), 127, np.int8)])
    evaluate(blob, [np.full((1, 1, 1, 4), -127, np.int8)])


def test_a_multiplier_that_shifts_a_sum_out_of_32_bits_is_refused(draft: Any) -> None:
    blob = _pointwise(draft, np.full((1, 1, 1, 4), 127, np.int8), [0], 1e-6)
    with pytest.raises(TargetError, match="left shift of its multiplier leaves 32 bits"):
        evaluate(blob, [np.full((1, 1, 1, 4), 127, np.int8)])


def test_more_terms_than_32_bits_hold_are_refused(draft: Any) -> None:
    blob = _pointwise(draft, np.full((1, 1, 1, 140000), 127, np.int8), [0], 1.0)
    with pytest.raises(TargetError, match="its sums may leave 32 bits"):
        evaluate(blob, [np.full((1, 1, 1, 140000), 127, np.int8)])


def test_weights_with_a_zero_point_are_refused(draft: Any) -> None:
    x = draft.input((1, 1, 1, 1))
    w = draft.writer.constant("w", np.ones((1, 1, 1, 1), np.int8), [1.0], 3)
    y = draft.output((1, 1, 1, 1))
    fields = {"strideH": 1, "strideW": 1, "padding": 1}
    draft.add("CONV_2D", [x, w, draft.bias(1)], [y], "Conv2DOptions", 3, **fields)
    with pytest.raises(TargetError, match="weights w have a zero point"):
        evaluate(draft.finish(), draft.values)


def test_channels_that_do_not_fit_are_refused(draft: Any) -> None:
    x = draft.input((1, 3, 3, 5))
    y = draft.output((1, 3, 3, 2))
    fields = {"strideH": 1, "strideW": 1, "padding": 1}
    inputs = [x, draft.weights((2, 1, 1, 2), 0), draft.bias(2)]
    draft.add("CONV_2D", inputs, [y], "Conv2DOptions", 3, **fields)
    with pytest.raises(TargetError, match="5 input channels do not fit weights"):
        evaluate(draft.finish(), draft.values)


def test_a_transposed_output_of_another_size_is_refused(draft: Any) -> None:
    x = draft.input((1, 3, 3, 2))
    y = draft.output((1, 9, 9, 2))
    inputs = [draft.integers((1, 9, 9, 2)), draft.weights((2, 2, 2, 2), 0), x]
    fields = {"strideH": 2, "strideW": 2, "padding": 1}
    draft.add("TRANSPOSE_CONV", inputs, [y], "TransposeConvOptions", 3, **fields)
    with pytest.raises(TargetError, match="does not fit an input of"):
        evaluate(draft.finish(), draft.values)
