"""Quantised operators that move, compare or look up bytes, as kernels with their constants."""

from __future__ import annotations

from math import prod

import numpy as np

from edgeweave.compiler.integer.call import Call
from edgeweave.compiler.integer.unary import Unary
from edgeweave.compiler.integer.windows import find_windows
from edgeweave.schedules.int8.move import PadShape, pad, transpose
from edgeweave.schedules.int8.pool import PoolShape, max_pool
from edgeweave.schedules.int8.round import settings
from edgeweave.schedules.int8.softmax import LOG2_E, softmax

_LAST_AXIS_BY_DEFAULT = 13  # the operator set from which on Softmax is along the last axis


def pooled(layer: Unary) -> Call | None:
    """The call for a MaxPool that keeps values; None where it has more than two spatial axes."""
    x, result = layer.operand, layer.result
    size = x.shape[2:]
    found = find_windows(layer.attributes, size, layer.attributes.get("kernel_shape", ()))
    if not layer.keeps_values or found is None or layer.attributes.get("storage_order", 0):
        return None
    plane = found.in_plane()
    whole = (1, *size) if len(size) == 1 else size
    out = (1, *result.shape[2:]) if len(size) == 1 else result.shape[2:]
    shape = PoolShape(
        x.shape[0] * x.shape[1],
        (whole[0], whole[1]),
        (out[0], out[1]),
        (plane.kernel[0], plane.kernel[1]),
        (plane.strides[0], plane.strides[1]),
        (plane.dilations[0], plane.dilations[1]),
        (plane.pads[0], plane.pads[1]),
    )
    return Call(max_pool(shape, x.dtype, x.shape, result.shape), (x.name,))


def transposed(layer: Unary) -> Call | None:
    """The call for a Transpose that exchanges two neighbouring runs of axes at the end."""
    x = layer.operand
    order = layer.attributes.get("perm", list(range(len(x.shape)))[::-1])
    kept = [axis for axis in order if x.shape[axis] > 1]
    lead = 0
    while lead < len(kept) and kept[lead] == sorted(kept)[lead]:
        lead += 1
    rest = kept[lead:]
    if not layer.keeps_values or not rest:
        return None
    turn = rest.index(min(rest))
    if rest[turn:] + rest[:turn] != sorted(rest):
        return None
    batch = prod(x.shape[axis] for axis in kept[:lead])
    rows, columns = (prod(x.shape[axis] for axis in axes) for axes in (rest[turn:], rest[:turn]))
    shapes = (x.shape, layer.result.shape)
    return Call(transpose(batch, rows, columns, x.dtype, shapes), (x.name,))


def padded(layer: Unary) -> Call | None:
    """The call for a Pad with one value around the last two axes."""
    x, given = layer.operand, layer.constants
    axes = len(x.shape)
    if not layer.keeps_values or layer.attributes.get("mode", b"constant") != b"constant":
        return None
    if not given or given[0] is None or (len(given) > 2 and given[2] is not None) or axes < 2:
        return None
    pads = [int(number) for number in given[0]]
    if min(pads) < 0 or any(pads[: axes - 2]) or any(pads[axes : 2 * axes - 2]):
        return None
    value = np.float32(0) if len(given) < 2 or given[1] is None else given[1].reshape(())
    limits = np.iinfo(x.dtype)
    byte = int(np.clip(np.rint(np.float32(value) / x.scale) + x.zero, limits.min, limits.max))
    shape = PadShape(
        prod(x.shape[:-2]),
        (x.shape[-2], x.shape[-1]),
        (pads[axes - 2], pads[axes - 1], pads[-2], pads[-1]),
    )
    return Call(pad(shape, byte, x.dtype, (x.shape, layer.result.shape)), (x.name,))


def softmaxed(layer: Unary) -> Call | None:
    """The call for a Softmax along the last axis."""
    x, result = layer.operand, layer.result
    default = -1 if layer.opset >= _LAST_AXIS_BY_DEFAULT else 1
    if layer.attributes.get("axis", default) not in (-1, len(x.shape) - 1):
        return None
    limits = np.iinfo(result.dtype)
    low, high = int(limits.min) - result.zero, int(limits.max) - result.zero
    function = softmax(
        prod(x.shape[:-1]), x.shape[-1], (x.dtype, result.dtype), (x.shape, result.shape)
    )
    return Call(
        function,
        (
            x.name,
            np.array([x.scale * LOG2_E, 1 / np.float64(result.scale)], np.float32),
            np.array(settings(0, 0, result.zero, low, high), np.int32),
        ),
    )
