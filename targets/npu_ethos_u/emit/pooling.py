"""Pools and reductions over axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeweave.targets.npu_ethos_u.emit.bounds import fused_activation
from edgeweave.targets.npu_ethos_u.emit.convolutions import convolve
from edgeweave.targets.npu_ethos_u.emit.emission import Emission, Placed
from edgeweave.targets.npu_ethos_u.emit.kernel import Kernel
from edgeweave.targets.npu_ethos_u.emit.layout import channels_last, plain
from edgeweave.targets.npu_ethos_u.emit.quantized import INT8, Operator
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused
from edgeweave.targets.npu_ethos_u.emit.window import (
    MOST_STRIDE,
    SAME,
    VALID,
    Window,
    pad_image,
    read_window,
)

_MOST_KERNEL = 64  # of a convolution, in height and width, on an Ethos-U
_MOST_SAME_KERNEL = 8  # of an average pool with TFLite's SAME


def emit_max_pool(emission: Emission, operator: Operator) -> None:
    """MaxPool as MAX_POOL_2D; padding is the least number, which never wins."""
    image, window = _pooled(emission, operator)
    padding = SAME if any(window.pads) and window.is_same(_size(image)) else VALID
    if padding == VALID:
        image = pad_image(emission, image, window, INT8[0])
    _pool(emission, operator, "MAX_POOL_2D", image, window, padding)


def emit_average_pool(emission: Emission, operator: Operator) -> None:
    """AveragePool, as a depthwise convolution where the pool would have to round twice.

    AVERAGE_POOL_2D keeps its input's scale. Weights of 1 with the scale of one in so many give the
    average at any scale; but a window at the border must count its padding.
    """
    image, window = _pooled(emission, operator)
    counted = operator.attributes.get("count_include_pad")
    if any(window.pads) and not counted:
        size = _size(image)
        if not window.is_same(size) or max(window.kernel) > _MOST_SAME_KERNEL:
            raise Refused(
                "ethos-u.pool-padding", f"{operator} averages without its pads {window.pads}"
            )
        _pool(emission, operator, "AVERAGE_POOL_2D", image, window, SAME)
        return
    same_scale = image.quantisation == operator.output.quantisation
    small = max(window.kernel) <= _MOST_KERNEL and max(window.strides) <= MOST_STRIDE
    if same_scale or not small:
        image = pad_image(emission, image, window, image.quantisation.zero_point)
        _pool(emission, operator, "AVERAGE_POOL_2D", image, window, VALID)
        return
    channels = image.shape[1]
    kernel = Kernel(
        np.ones((channels, 1, *window.kernel), np.int8),
        np.full(channels, 1 / (window.kernel[0] * window.kernel[1]), np.float32),
        np.zeros(channels, np.int32),
    )
    there = emission.result(operator, channels_last(4))
    fused = fused_activation(operator)
    convolve(emission, image, kernel, window, there, fused)
    emission.settle(operator, there, fused)


def _pooled(emission: Emission, operator: Operator) -> tuple[Placed, Window]:
    image = emission.image(operator.value(0), operator)
    kernel = operator.attributes["kernel_shape"]
    if len(operator.output.shape) != 4 or any(
        d != 1 for d in operator.attributes.get("dilations", ())
    ):
        raise Refused("ethos-u.pool", f"{operator} is dilated or not two-dimensional")
    window = read_window(operator, image.shape[2:], kernel)
    size, output = _size(image), operator.output.shape[2:]
    begins = [
        (places - 1) * stride - pad
        for places, stride, pad in zip(output, window.strides, window.pads[:2], strict=True)
    ]
    if any(begin >= length for begin, length in zip(begins, size, strict=True)):
        raise Refused("ethos-u.pool-padding", f"{operator} has a window outside of the image")
    widened = window.widened(size, output)
    if widened != window and operator.attributes.get("count_include_pad"):
        raise Refused("ethos-u.pool-padding", f"{operator} averages beyond its pads")
    return image, widened


def _size(image: Placed) -> tuple[int, int]:
    return image.shape[2], image.shape[3]


def _pool(
    emission: Emission, operator: Operator, code: str, image: Placed, window: Window, padding: int
) -> None:
    shape = operator.output.shape
    there = emission.tensor(operator.output.name, shape, channels_last(4), image.quantisation)
    if code == "AVERAGE_POOL_2D":
        emission.check_fineness(operator, image.quantisation)
    fields = {
        "padding": padding,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "filterHeight": window.kernel[0],
        "filterWidth": window.kernel[1],
    }
    emission.operator(code, [image.tensor], there.tensor, 2, "Pool2DOptions", fields)
    emission.settle(operator, there)


def emit_global_average(emission: Emission, operator: Operator) -> None:
    """GlobalAveragePool as MEAN over all axes but the first two."""
    _reduce(emission, operator, "MEAN", range(2, len(operator.value(0).shape)))


def emit_reduction(emission: Emission, operator: Operator) -> None:
    """ReduceMean as MEAN, ReduceMax as REDUCE_MAX."""
    rank = len(operator.value(0).shape)
    axes = operator.attributes.get("axes") or operator.integers(1)
    if not axes:
        if operator.attributes.get("noop_with_empty_axes"):
            raise Refused("ethos-u.reduction", f"{operator} reduces nothing")
        axes = list(range(rank))
    code = {"ReduceMean": "MEAN", "ReduceMax": "REDUCE_MAX"}[operator.kind]
    _reduce(emission, operator, code, [axis % rank for axis in axes])


def _reduce(emission: Emission, operator: Operator, code: str, axes: Sequence[int]) -> None:
    x = emission.read(operator.value(0), operator)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    # MEAN computes at the result's scale; the greatest of some numbers is one of them
    quantisation = operator.output.quantisation if code == "MEAN" else x.quantisation
    places = sorted(x.layout.index(axis) for axis in axes)
    if len(x.shape) == 4 and x.lies[0] == 1 and set(places) <= {1, 2}:
        there = emission.tensor(operator.output.name, shape, x.layout, quantisation)
        _write(emission, code, x, places, there)
    else:
        x, image, place = _as_image(emission, x, axes)
        lies = tuple(1 if at == place else size for at, size in enumerate(image.shape))
        there = emission.tensor(operator.output.name, lies, plain(4), quantisation)
        _write(emission, code, image, [place], there)
        there = emission.viewed(there, shape, x.layout)
    emission.settle(operator, there)


def _as_image(emission: Emission, x: Placed, axes: Sequence[int]) -> tuple[Placed, Placed, int]:
    """The value with the reduced axes together, the same as one image, and their place in it.

    Vela reduces height and width, and depth only where one of the three has the size 1.
    """
    reduced = [axis in axes for axis in x.layout if x.shape[axis] != 1]
    first = reduced.index(True) if True in reduced else 0
    if not all(reduced[first : first + sum(reduced)]):
        kept = [axis for axis in x.layout if axis not in axes]
        x = emission.transposed(x, (*kept, *(axis for axis in x.layout if axis in axes)))
        reduced = sorted(reduced)
        first = reduced.index(True)
    sizes = [size for size in x.lies if size != 1]
    last = first + sum(reduced)
    before, between, after = (
        int(np.prod(part)) for part in (sizes[:first], sizes[first:last], sizes[last:])
    )
    if after == 1:
        return x, emission.viewed(x, (1, before, 1, between), plain(4)), 3
    return x, emission.viewed(x, (1, before, between, after), plain(4)), 2


def _write(emission: Emission, code: str, x: Placed, places: list[int], there: Placed) -> None:
    inputs = [x.tensor, emission.integers("axes", places)]
    emission.operator(code, inputs, there.tensor, 2, "ReducerOptions", {"keepDims": True})
