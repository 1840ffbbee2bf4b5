"""A quantised convolution as a kernel and the constants it reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tvm.target import Target

from edgeweave.compiler.integer.call import Call, corrected_bias, kernel_settings, multipliers
from edgeweave.compiler.integer.layer import Constant, Layer
from edgeweave.compiler.integer.product import product_of_rows
from edgeweave.compiler.integer.reading import Quantised
from edgeweave.compiler.integer.windows import find_windows
from edgeweave.schedules.int8.conv import ConvKernel
from edgeweave.schedules.int8.dot import find_dot
from edgeweave.schedules.int8.shape import ConvShape

_ALONG = (1, 2, 4)  # pixels of a row that one pixel becomes


def convolution(layer: Layer, target: Target) -> Call | None:
    """The call that computes a Conv; None where integers cannot, or no kernel has its form."""
    x, weights = layer.operands
    if not isinstance(x, Quantised) or not isinstance(weights, Constant):
        return None
    shape = _shape(layer, x, weights)
    if shape is None or (weights.scale.size > 1 and weights.axis != 0):
        return None
    if _is_product(shape):
        return product_of_rows(layer, x, weights, target)
    square = weights.values.reshape(shape.filters, shape.channels_of_group, *shape.kernel)
    return _call(layer, x, shape, square, weights.scale, target)


def transposed_convolution(layer: Layer, target: Target) -> Call | None:
    """The call for a ConvTranspose that makes a block of pixels of each; None for all others."""
    x, weights = layer.operands
    if not isinstance(x, Quantised) or not isinstance(weights, Constant):
        return None
    values, given = weights.values, layer.attributes
    if values.ndim != 4 or given.get("group", 1) != 1:
        return None
    spread = values.shape[2:]
    if tuple(given.get("strides", (1, 1))) != spread or spread[1] not in _ALONG:
        return None
    size = [extent * times for extent, times in zip(x.shape[2:], spread, strict=True)]
    if list(layer.result.shape[2:]) != size or any(given.get("pads", ())):
        return None
    if weights.scale.size > 1 and weights.axis != 1:
        return None
    pixels = spread[0] * spread[1]
    square = np.moveaxis(values, 0, -1).reshape(-1, values.shape[0], 1, 1)
    scales = np.repeat(weights.scale, pixels) if weights.scale.size > 1 else weights.scale
    bias = None if layer.bias is None else np.repeat(layer.bias, pixels)
    shape = ConvShape(x.shape[0], x.shape[1], x.shape[2], x.shape[3], len(square), (1, 1))
    return _call(replace(layer, bias=bias), x, shape, square, scales, target, spread)


def _call(
    layer: Layer,
    x: Quantised,
    shape: ConvShape,
    square: np.ndarray,
    scales: np.ndarray,
    target: Target,
    spread: tuple[int, int] | None = None,
) -> Call | None:
    unit, cores = find_dot(target), int(target.attrs.get("num-cores", 1))
    bias = corrected_bias(layer, square.reshape(shape.filters, -1), unit)
    types = (x.dtype, layer.result.dtype)
    kernel = ConvKernel.choose(shape, unit, cores, types, spread)
    if bias is None or kernel is None:
        return None
    scale = multipliers(x, scales, layer.result, shape.filters)
    numbers = kernel_settings(layer, x, unit)
    function = kernel.function(x.shape, layer.result.shape)
    return Call(function, (x.name, kernel.pack(square), bias, scale, numbers))


def _is_product(shape: ConvShape) -> bool:
    """Whether one filter covers the whole image, so that a vector of columns would hold one."""
    image = (shape.height, shape.width)
    return shape.group == 1 and shape.kernel == image and not any(shape.pads)


def _shape(layer: Layer, x: Quantised, weights: Constant) -> ConvShape | None:
    """The convolution with two spatial axes; None for three and more."""
    size, given = list(x.shape[2:]), layer.attributes
    if weights.values.ndim != len(x.shape):
        return None
    found = find_windows(given, size, weights.values.shape[2:])
    if found is None:
        return None
    plane = found.in_plane()
    height, width = size if len(size) == 2 else (1, size[0])
    return ConvShape(
        x.shape[0], x.shape[1], height, width, weights.values.shape[0],
        (plane.kernel[0], plane.kernel[1]),
        (plane.strides[0], plane.strides[1]),
        (plane.dilations[0], plane.dilations[1]),
        (plane.pads[0], plane.pads[1], plane.pads[2], plane.pads[3]),
        int(given.get("group", 1)),
    )  # fmt: skip
