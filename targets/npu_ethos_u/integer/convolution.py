"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV with one multiplier per output channel.

TFLite's quantisation specification: activations (q - zero point), symmetric weights, an int32 bias
at scale input x weight, and a 32-bit sum. The sums are made with BLAS on floats that hold them
exactly (below 2**24 in float32, 2**53 in float64); all that is rounded, is rounded in integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import Call, activation_limits, requantise
from edgeweave.targets.npu_ethos_u.integer.fixed_point import (
    INT32_MAX,
    Multiplier,
    find_multiplier,
)
from edgeweave.targets.npu_ethos_u.integer.model import Array, Tensor
from edgeweave.targets.npu_ethos_u.integer.windows import Axis, make_axes, make_axis, pad_axes, taps

_FLOAT32_EXACT = 2**24
_CHUNK = 1 << 21  # elements of the matrix of windows that is multiplied at a time


def channel_multipliers(call: Call, x: Tensor, w: Tensor) -> Multiplier:
    """Input scale x weight scale / output scale of every output channel, or of all."""
    if w.zero_points.any():
        raise call.refused(f"weights {w.name} have a zero point")
    scales = w.scales.astype(np.float64)
    if not len(scales):
        raise call.refused(f"weights {w.name} have no scale")
    real = float(x.scale) * scales / float(call.output.scale)
    return find_multiplier(real)


def convolve(call: Call) -> list[Array]:
    """CONV_2D: input (N, H, W, C), weights (O, KH, KW, C / groups), bias (O,)."""
    x, weights = call.tensor(0), call.value(1)
    channels, height, width, depth = weights.shape
    axes = make_axes(call, (height, width))
    values = pad_axes(call.value(0), axes, x.zero_point)
    groups = values.shape[3] // depth
    if groups * depth != values.shape[3] or channels % groups:
        raise call.refused(f"{values.shape[3]} input channels do not fit weights {weights.shape}")
    bias = _bias(call, 2, channels)
    kind = _exact_type(call, weights.reshape(channels, -1), x)
    matrices = weights.reshape(groups, channels // groups, -1).transpose(0, 2, 1).astype(kind)
    sums = np.empty((len(values), axes[0].output, axes[1].output, channels), np.int32)
    for image, written in zip(values, sums, strict=True):
        _convolve_image(image, x.zero_point, matrices, axes, written)
    return [_finish(call, sums, bias)]


def convolve_depthwise(call: Call) -> list[Array]:
    """DEPTHWISE_CONV_2D: input (N, H, W, C), weights (1, KH, KW, C x multiplier)."""
    x, weights = call.tensor(0), call.value(1)
    _, height, width, channels = weights.shape
    axes = make_axes(call, (height, width))
    values = pad_axes(call.value(0), axes, x.zero_point)
    times = channels // values.shape[3]
    if times * values.shape[3] != channels:
        raise call.refused(f"{values.shape[3]} input channels do not fit weights {weights.shape}")
    bias = _bias(call, 2, channels)
    _exact_type(call, weights.reshape(-1, channels).T, x)
    values = np.repeat(values.astype(np.int32) - x.zero_point, times, axis=3)
    sums = np.zeros((len(values), axes[0].output, axes[1].output, channels), np.int32)
    for y, column, met in taps(values, axes):
        sums += met * weights[0, y, column].astype(np.int32)
    return [_finish(call, sums, bias)]


def convolve_transposed(call: Call) -> list[Array]:
    """TRANSPOSE_CONV: output shape (4,), weights (O, KH, KW, C), input (N, H, W, C), bias (O,)."""
    shape = call.integers(0)
    x, weights, values = call.tensor(2), call.value(1), call.value(2)
    channels, height, width, depth = weights.shape
    rows, columns = (
        make_axis(size, kernel, call.options[stride], 1, call.options["padding"])
        for size, kernel, stride in (
            (shape[1], height, "strideH"),
            (shape[2], width, "strideW"),
        )
    )
    if (rows.output, columns.output) != values.shape[1:3] or shape[3] != channels:
        raise call.refused(f"an output of {shape} does not fit an input of {values.shape}")
    bias = _bias(call, 3, channels)
    kind = _exact_type(call, weights.reshape(channels, -1), x)
    matrix = weights.transpose(3, 1, 2, 0).reshape(depth, -1).astype(kind)
    sums = np.zeros(shape, np.int32)
    for image, written in zip(values, sums, strict=True):
        _scatter(image, x.zero_point, matrix, (rows, columns), written)
    return [_finish(call, sums, bias, x=2)]


def _bias(call: Call, index: int, channels: int) -> Array:
    return call.value(index) if call.has(index) else np.zeros(channels, np.int32)


def _exact_type(call: Call, weights: Array, x: Tensor) -> Any:
    """The float type that holds every partial sum exactly; weights are (channels, terms).

    Raises TargetError where a sum could leave 32 bits.
    """
    low, high = x.limits
    farthest = max(high - x.zero_point, x.zero_point - low)
    most = int(np.abs(weights.astype(np.int64)).sum(axis=1).max(initial=0)) * farthest
    if most > INT32_MAX:
        raise call.refused("its sums may leave 32 bits")
    return np.float32 if most <= _FLOAT32_EXACT else np.float64


def _convolve_image(
    image: Array, zero_point: int, matrices: Array, axes: tuple[Axis, Axis], sums: Array
) -> None:
    """Sums (OH, OW, O) of a padded image (H, W, C); matrices are (groups, KH x KW x C, O)."""
    rows, columns = axes
    image = image.astype(matrices.dtype) - matrices.dtype.type(zero_point)
    groups, terms, channels = matrices.shape
    depth = image.shape[2] // groups
    y, x, one = image.strides
    shape = (rows.output, columns.output, rows.kernel, columns.kernel, depth)
    strides = (y * rows.stride, x * columns.stride, y * rows.dilation, x * columns.dilation, one)
    lines = max(1, _CHUNK // max(1, columns.output * terms))
    for group, matrix in enumerate(matrices):
        part = image[:, :, group * depth : (group + 1) * depth]
        windows = np.lib.stride_tricks.as_strided(part, shape, strides, writeable=False)
        written = sums[:, :, group * channels : (group + 1) * channels]
        for begin in range(0, rows.output, lines):
            chunk = windows[begin : begin + lines]
            found = chunk.reshape(-1, terms) @ matrix
            written[begin : begin + lines] = found.reshape(*chunk.shape[:2], channels)


def _scatter(
    image: Array, zero_point: int, matrix: Array, axes: tuple[Axis, Axis], sums: Array
) -> None:
    """Add every element of an image (H, W, C), times the weights, to its window of the output.

    The matrix is (C, KH x KW x O); the axes are those of the convolution that this one transposes.
    """
    rows, columns = axes
    channels = sums.shape[2]
    image = image.astype(matrix.dtype) - matrix.dtype.type(zero_point)
    padded = np.zeros(
        (
            rows.before + rows.size + rows.after,
            columns.before + columns.size + columns.after,
            channels,
        ),
        np.int32,
    )
    lines = max(1, _CHUNK // max(1, image.shape[1] * matrix.shape[1]))
    for begin in range(0, len(image), lines):
        part = image[begin : begin + lines]
        found = (part.reshape(-1, part.shape[2]) @ matrix).astype(np.int32)
        found = found.reshape(*part.shape[:2], rows.kernel, columns.kernel, channels)
        top = padded[begin * rows.stride :]
        for y in range(rows.kernel):
            for x in range(columns.kernel):
                bottom = y + (len(part) - 1) * rows.stride + 1
                right = x + (part.shape[1] - 1) * columns.stride + 1
                top[y : bottom : rows.stride, x : right : columns.stride] += found[:, :, y, x]
    sums += padded[
        rows.before : rows.before + rows.size, columns.before : columns.before + columns.size
    ]


def _finish(call: Call, sums: Array, bias: Array, x: int = 0) -> Array:
    """Sums with bias, requantised and clipped to the fused activation; x is the input's index.

    Raises TargetError where a sum leaves 32 bits.
    """
    channels = sums.reshape(-1, sums.shape[-1])
    for extreme in (channels.max(axis=0), channels.min(axis=0)):
        if (np.abs(extreme + bias.astype(np.int64)) > INT32_MAX).any():
            raise call.refused("a sum and its bias leave 32 bits")
    sums += bias.astype(np.int32)
    limits = activation_limits(call.output, call.options.get("fusedActivationFunction", 0))
    return requantise(
        sums, channel_multipliers(call, call.tensor(x), call.tensor(1)), call.output, limits
    )
