"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR of (N, H, W, C) values.

The bilinear form is TFLite's in integers: positions and weights with 10 bits below the point, and
one rounding, half away from zero, at the end. The nearest neighbour is found in float32.
"""

from __future__ import annotations

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import Call, round_away
from edgeweave.targets.npu_ethos_u.integer.fixed_point import shift_right
from edgeweave.targets.npu_ethos_u.integer.model import Array

_BITS = 10
_ONE = 1 << _BITS


def resize_nearest(call: Call) -> list[Array]:
    """RESIZE_NEAREST_NEIGHBOR: input, size (2,)."""
    value, (height, width) = call.value(0), call.integers(1)
    rows = _nearest(call, value.shape[1], height)
    columns = _nearest(call, value.shape[2], width)
    return [value[:, rows[:, None], columns]]


def resize_bilinear(call: Call) -> list[Array]:
    """RESIZE_BILINEAR: input, size (2,)."""
    if call.value(0).dtype != np.int8:
        raise call.refused("it is defined in integers for int8 alone")
    value, (height, width) = call.value(0).astype(np.int32), call.integers(1)
    top, bottom, down = _between(call, value.shape[1], height)
    left, right, across = _between(call, value.shape[2], width)
    down, across = down[:, None, None], across[:, None]
    mixed = value[:, top] * (_ONE - down) + value[:, bottom] * down
    mixed = mixed[:, :, left] * (_ONE - across) + mixed[:, :, right] * across
    return [shift_right(mixed.astype(np.int64), 2 * _BITS).astype(np.int8)]


def _nearest(call: Call, size: int, wanted: int) -> Array:
    """The element of an axis that each element of the resized axis is."""
    aligned, half = call.options["alignCorners"], call.options["halfPixelCenters"]
    if aligned and wanted > 1:
        scale = np.float32(size - 1) / np.float32(wanted - 1)
    else:
        scale = np.float32(size) / np.float32(wanted)
    position = (np.arange(wanted, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    found = round_away(position) if aligned else np.floor(position)
    clipped: Array = np.clip(found.astype(np.int64), 0, size - 1)
    return clipped


def _between(call: Call, size: int, wanted: int) -> tuple[Array, Array, Array]:
    """The two elements that each element of the resized axis lies between, and how far along."""
    aligned = call.options["alignCorners"] and wanted > 1
    span, steps = (size - 1, wanted - 1) if aligned else (size, wanted)
    scale = (_ONE * span + steps // 2) // steps
    position = np.arange(wanted, dtype=np.int32) * scale
    if call.options["halfPixelCenters"]:
        position += scale // 2 - _ONE // 2
    lower = np.maximum(position >> _BITS, 0)
    upper = np.minimum((position + _ONE - 1) >> _BITS, size - 1)
    return lower, upper, position - (lower << _BITS)
