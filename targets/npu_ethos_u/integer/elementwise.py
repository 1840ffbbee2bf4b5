"""Operators of two values, element by element with broadcasting: ADD, SUB, MUL, MAXIMUM, MINIMUM.

TFLite scales both inputs of a sum to twice the larger of their scales, with 20 bits below the
point, and works its multipliers out in float32: so do these.
"""

from __future__ import annotations

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import Call, activation_limits, requantise
from edgeweave.targets.npu_ethos_u.integer.fixed_point import Multiplier, find_multiplier, multiply
from edgeweave.targets.npu_ethos_u.integer.lookup import every_integer, look_up
from edgeweave.targets.npu_ethos_u.integer.model import Array, Tensor

_LEFT_SHIFT = 20


def add(call: Call) -> list[Array]:
    """ADD: the sum of two values."""
    return _sum(call, 1)


def subtract(call: Call) -> list[Array]:
    """SUB: the first value less the second."""
    return _sum(call, -1)


def multiply_values(call: Call) -> list[Array]:
    """MUL: the product of two values."""
    a, b = call.tensor(0), call.tensor(1)
    product = _centred(a, call.value(0)) * _centred(b, call.value(1))
    real = a.scale * b.scale / call.output.scale
    return [_finish(call, product, find_multiplier(real))]


def maximum(call: Call) -> list[Array]:
    """MAXIMUM: the greater integer; both inputs and the output have one quantisation."""
    return [np.maximum(call.value(0), call.value(1))]


def minimum(call: Call) -> list[Array]:
    """MINIMUM: the lesser integer; both inputs and the output have one quantisation."""
    return [np.minimum(call.value(0), call.value(1))]


def _centred(tensor: Tensor, value: Array) -> Array:
    return value.astype(np.int32) - np.int32(tensor.zero_point)


def _sum(call: Call, sign: int) -> list[Array]:
    a, b = call.tensor(0), call.tensor(1)
    twice = float(np.float32(2) * max(a.scale, b.scale))
    left = _scaled(a, call.value(0), twice)
    right = _scaled(b, call.value(1), twice)
    real = twice / float(np.float32(1 << _LEFT_SHIFT) * call.output.scale)
    return [_finish(call, left + sign * right, find_multiplier(real))]


def _scaled(tensor: Tensor, value: Array, twice: float) -> Array:
    """Integers at the scale that both inputs are brought to; 256 of them, and looked up."""
    by = find_multiplier(float(tensor.scale) / twice)
    table = multiply((every_integer(tensor) - tensor.zero_point) << _LEFT_SHIFT, by)
    return look_up(tensor, value, table.astype(np.int32))


def _finish(call: Call, values: Array, by: Multiplier) -> Array:
    limits = activation_limits(call.output, call.options.get("fusedActivationFunction", 0))
    return requantise(values, by, call.output, limits)
