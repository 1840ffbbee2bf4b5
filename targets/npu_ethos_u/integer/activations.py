"""Operators of one value, element by element, and requantisation.

Each is worked out for the 256 integers of its input and looked up. LOGISTIC, TANH and EXP are
defined by TFLite as tables too, made in float32; HARD_SWISH is its 16-bit fixed-point form.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import (
    Call,
    activation_limits,
    requantise,
    round_away,
)
from edgeweave.targets.npu_ethos_u.integer.fixed_point import (
    Integers,
    Multiplier,
    find_multiplier,
    shift_right,
)
from edgeweave.targets.npu_ethos_u.integer.lookup import every_integer, look_up
from edgeweave.targets.npu_ethos_u.integer.model import Array

_INT16 = (-(2**15), 2**15 - 1)
_LARGEST_EXPONENT = 88.0  # of a float32; all that is beyond saturates as well


def requantise_value(call: Call) -> list[Array]:
    """QUANTIZE of an 8-bit value: to another scale, zero point or sign; in double precision."""
    return _scaled(call, float(call.tensor(0).scale) / float(call.output.scale))


def relu(call: Call) -> list[Array]:
    """RELU."""
    return _scaled(call, *_same(call), activation=1)


def relu6(call: Call) -> list[Array]:
    """RELU6."""
    return _scaled(call, *_same(call), activation=3)


def relu_n1_to_1(call: Call) -> list[Array]:
    """RELU_N1_TO_1: clipped to -1 … 1."""
    return _scaled(call, *_same(call), activation=2)


def leaky_relu(call: Call) -> list[Array]:
    """LEAKY_RELU: negative values times alpha."""
    x = call.tensor(0)
    alpha = np.float32(call.options["alpha"])
    slope = x.scale * alpha / call.output.scale
    values = every_integer(x) - x.zero_point
    kept = requantise(values, find_multiplier(x.scale / call.output.scale), call.output)
    # a negative slope is a positive one of the negated value
    negative = values if slope >= 0 else -values
    bent = requantise(negative, find_multiplier(abs(slope)), call.output)
    return _table(call, np.where(values >= 0, kept, bent))


def prelu(call: Call) -> list[Array]:
    """PRELU: negative values times an alpha of their own, broadcast."""
    x, alpha, out = call.tensor(0), call.tensor(1), call.output
    values = call.value(0).astype(np.int32) - np.int32(x.zero_point)
    slopes = call.value(1).astype(np.int32) - np.int32(alpha.zero_point)
    kept = requantise(values, find_multiplier(x.scale / out.scale), out)
    bent = requantise(values * slopes, find_multiplier(x.scale * alpha.scale / out.scale), out)
    return [np.where(values >= 0, kept, bent)]


def logistic(call: Call) -> list[Array]:
    """LOGISTIC."""

    def sigmoid(value: np.float32) -> np.float32:
        exponential = np.float32(math.exp(min(-float(value), _LARGEST_EXPONENT)))
        return np.float32(1) / (np.float32(1) + exponential)

    return _float_table(call, sigmoid)


def tanh(call: Call) -> list[Array]:
    """TANH."""
    return _float_table(call, lambda value: np.float32(math.tanh(value)))


def exponential(call: Call) -> list[Array]:
    """EXP."""
    return _float_table(
        call, lambda value: np.float32(math.exp(min(float(value), _LARGEST_EXPONENT)))
    )


def hard_swish(call: Call) -> list[Array]:
    """HARD_SWISH: x * relu6(x + 3) / 6 in 16-bit fixed point."""
    x, out = call.tensor(0), call.output
    fine = np.float32(1 / 128) * x.scale
    to_output = find_multiplier(fine / out.scale)
    to_relu = find_multiplier(fine / np.float32(3 / 32768))
    if to_output.exponent > 0:
        raise call.refused("its output scale is too small for 16-bit fixed point")
    values = (every_integer(x) - x.zero_point) << 7
    unshifted = _high_multiply_16(values, _mantissa_16(to_output))
    weight = values
    exponent = int(to_relu.exponent)
    if exponent > 0:
        weight = np.clip(weight << (exponent - 1), *_INT16)
    weight = _high_multiply_16(weight, _mantissa_16(to_relu))
    if exponent > 0:
        weight = np.clip(weight << 1, *_INT16)
    elif exponent < 0:
        weight = shift_right(weight, -exponent)
    weight = (weight + 2**15) >> 1
    product = weight * unshifted
    truncated = np.sign(product) * (np.abs(product) >> 15)
    result = shift_right(truncated, -int(to_output.exponent)) + out.zero_point
    return _table(call, np.clip(result, *out.limits))


def _same(call: Call) -> tuple[np.float32]:
    return (call.tensor(0).scale / call.output.scale,)


def _scaled(call: Call, real: float | np.float32, activation: int = 0) -> list[Array]:
    x = call.tensor(0)
    limits = activation_limits(call.output, activation)
    values = every_integer(x) - x.zero_point
    return _table(call, requantise(values, find_multiplier(real), call.output, limits))


def _table(call: Call, table: Array) -> list[Array]:
    return [look_up(call.tensor(0), call.value(0), table.astype(call.output.dtype))]


def _float_table(call: Call, function: Callable[[np.float32], np.float32]) -> list[Array]:
    """A function of real numbers at every integer of the input, in float32 as TFLite makes it."""
    x, out = call.tensor(0), call.output
    inverse = np.float32(1) / out.scale
    reals = x.scale * (every_integer(x) - x.zero_point).astype(np.float32)
    found = np.array([function(real) for real in reals], np.float32)
    rounded = round_away(found * inverse) + np.float32(out.zero_point)
    return _table(call, np.clip(rounded, *out.limits))


def _mantissa_16(multiplier: Multiplier) -> int:
    """The upper 16 bits of a mantissa, rounded, at most the largest 16-bit integer."""
    mantissa = int(multiplier.mantissa)
    return min((mantissa + 2**15) >> 16, _INT16[1])


def _high_multiply_16(values: Integers, by: int) -> Integers:
    """``values * by / 2**15`` of 16-bit integers, rounded half up."""
    return (values * by + 2**14) >> 15
