"""Multiplication by a real number in integers, as TFLite and the Ethos-U define it.

A real multiplier is a 31-bit mantissa and a power of two. A product is rounded twice: to 32 bits
after the multiplication (half up), and after the shift to the right (half away from zero). Defined
by gemmlowp's ``fixedpoint.h`` (SaturatingRoundingDoublingHighMul, RoundingDivideByPOT) and TFLite's
``MultiplyByQuantizedMultiplier``; the NPU's registers call it double rounding.

Values are int64 arrays that hold 32-bit integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.model import Array

Integers = npt.NDArray[np.int64]

_MANTISSA_BITS = 31
_SMALLEST = -31  # a smaller exponent leaves nothing of any 32-bit integer
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Multiplier:
    """``mantissa * 2**(exponent - 31)``; both are arrays of one shape, () or (channels,)."""

    mantissa: Integers
    exponent: Integers


def find_multiplier(real: Any) -> Multiplier:
    """The multiplier nearest to a real number of 0 or more, or to each of an array (float64)."""
    fraction, exponent = np.frexp(np.asarray(real, np.float64))
    mantissa = np.floor(fraction * 2.0**_MANTISSA_BITS + 0.5).astype(np.int64)
    exponent = exponent.astype(np.int64)
    full = mantissa == 2**_MANTISSA_BITS
    mantissa, exponent = (
        np.where(full, mantissa >> 1, mantissa),
        np.where(full, exponent + 1, exponent),
    )
    gone = (exponent < _SMALLEST) | (mantissa == 0)
    return Multiplier(np.where(gone, 0, mantissa), np.where(gone, 0, exponent))


def high_multiply(a: Any, b: Any) -> Integers:
    """``a * b / 2**31``, rounded half up; saturates where both are the lowest integer."""
    product: Integers = np.multiply(a, b, dtype=np.int64)
    product += 1 << (_MANTISSA_BITS - 1)
    product >>= _MANTISSA_BITS
    return np.minimum(product, INT32_MAX, out=product)


def shift_right(values: Integers, bits: Any) -> Integers:
    """``values / 2**bits``, rounded half away from zero; bits is 0 or more, or an array of them."""
    bits = np.asarray(bits, np.int64)
    if not bits.any():
        return values
    half = np.where(bits > 0, (1 << bits) >> 1, 0)
    away = np.where(bits > 0, -1, 0)
    # the sign is -1 below zero: it takes exact halves down there, and up elsewhere
    rounded: Integers = (values + half + ((values >> 63) & away)) >> bits
    return rounded


def multiply(values: Array, by: Multiplier) -> Integers:
    """Values times a multiplier, rounded twice; a multiplier per channel is along the last axis.

    Raises TargetError where a value, shifted left, leaves 32 bits: C leaves that undefined.
    """
    left = np.maximum(by.exponent, 0)
    if left.any():
        values = np.left_shift(values, left, dtype=np.int64)
        if values.size and max(values.max(), -values.min()) > INT32_MAX:
            reason = "a sum times the left shift of its multiplier leaves 32 bits"
            raise TargetError("integer arithmetic", reason, "Quantise with a larger output scale.")
    return shift_right(high_multiply(values, by.mantissa), np.maximum(-by.exponent, 0))
