"""SOFTMAX of 8-bit values along the last axis, in fixed point.

The exponential and the reciprocal are gemmlowp's ``exp_on_negative_values`` (a Taylor polynomial
around -1/8, then one factor per bit of the exponent) and ``one_over_one_plus_x_for_x_in_0_1``
(Newton-Raphson from 48/17 - 32/17 x). "Q5.26" has 5 bits above the point and 26 below.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import Call
from edgeweave.targets.npu_ethos_u.integer.fixed_point import (
    INT32_MAX,
    Integers,
    find_multiplier,
    high_multiply,
    shift_right,
)
from edgeweave.targets.npu_ethos_u.integer.model import Array

_DIFFERENCE_BITS = 5  # above the point, of what is exponentiated
_SUM_BITS = 12  # above the point, of the sum of exponentials
_QUARTER = 1 << (31 - _DIFFERENCE_BITS - 2)


def softmax(call: Call) -> list[Array]:
    """SOFTMAX: along the last axis; the output's scale is 1/256 and its zero point the lowest."""
    x, out, value = call.tensor(0), call.output, call.value(0)
    exponentials = _exponentials(float(x.scale) * float(np.float32(call.options["beta"])))
    distance = (value.max(axis=-1, keepdims=True).astype(np.int16) - value).astype(np.uint8)
    found = exponentials[distance]
    sums = shift_right(exponentials, _SUM_BITS)[distance].sum(axis=-1, keepdims=True)
    if sums.max(initial=0) > INT32_MAX:
        raise call.refused("its sum of exponentials leaves 32 bits")
    # how far the sum has to go left to fill 32 bits, and its reciprocal then
    headroom = 32 - np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    scale = _reciprocal((sums << headroom) - 2**31)
    exponent = _SUM_BITS - headroom + 31 - 8
    found = shift_right(high_multiply(scale, found), exponent) + out.limits[0]
    return [np.clip(found, *out.limits).astype(out.dtype)]


def _exponentials(real: float) -> Integers:
    """``exp(-real * d)`` in Q0.31 of every distance d from the greatest element, 0 … 255."""
    shifted = min(real * 2.0 ** (31 - _DIFFERENCE_BITS), 2.0**31 - 1)
    by = find_multiplier(shifted)
    left = int(by.exponent)
    reach = math.floor(((1 << _DIFFERENCE_BITS) - 1) * 2.0 ** (31 - _DIFFERENCE_BITS) / 2.0**left)
    distance = np.arange(256)
    seen = distance <= reach
    scaled = high_multiply(-np.where(seen, distance, 0) << left, by.mantissa)
    return np.where(seen, _exponential(scaled), 0)


def _exponential(a: Integers) -> Integers:
    """exp of values of 0 and below in Q5.26, in Q0.31."""
    within = (a & (_QUARTER - 1)) - _QUARTER
    x = (within << _DIFFERENCE_BITS) + (1 << 28)
    square = high_multiply(x, x)
    cube = high_multiply(square, x)
    quartic = shift_right(high_multiply(square, square), 2)
    third = _fixed(1 / 3)
    rest = shift_right(high_multiply(quartic + cube, third) + square, 1)
    start = _fixed(math.exp(-1 / 8))
    result = start + high_multiply(start, x + rest)
    remainder = within - a
    for power in range(-2, 5):
        bit = 1 << (31 - _DIFFERENCE_BITS + power)
        factor = _fixed(math.exp(-(2.0**power)))
        result = np.where(remainder & bit, high_multiply(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _reciprocal(a: Integers) -> Integers:
    """``1 / (1 + a)`` of values from 0 to 1; both in Q0.31, Q2.29 in between."""
    half = (a + INT32_MAX + 1) >> 1
    x = _fixed(48 / 17, 2) + high_multiply(half, _fixed(-32 / 17, 2))
    for _ in range(3):
        missing = (1 << 29) - high_multiply(half, x)
        x = x + _saturating_left(high_multiply(x, missing), 2)
    return _saturating_left(x, 1)


def _fixed(real: float, above: int = 0) -> int:
    """A constant with that many bits above the point, and 31 altogether."""
    return round(real * 2.0 ** (31 - above))


def _saturating_left(values: Any, bits: int) -> Integers:
    clipped: Integers = np.clip(values << bits, -INT32_MAX - 1, INT32_MAX)
    return clipped
