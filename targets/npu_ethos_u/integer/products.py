"""FULLY_CONNECTED and BATCH_MATMUL."""

from __future__ import annotations

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import (
    Call,
    activation_limits,
    requantise,
    round_away,
)
from edgeweave.targets.npu_ethos_u.integer.fixed_point import INT32_MAX, find_multiplier
from edgeweave.targets.npu_ethos_u.integer.model import Array


def fully_connected(call: Call) -> list[Array]:
    """FULLY_CONNECTED: input, weights (O, C), bias (O,).

    LiteRT's reference kernel rounds once, from a product in double precision, where the Ethos-U
    rounds twice: a 1x1 convolution is what both compute alike.
    """
    x, w, weights = call.tensor(0), call.tensor(1), call.value(1)
    values = call.value(0).astype(np.float64).reshape(-1, weights.shape[1]) - x.zero_point
    sums = values @ (weights.astype(np.float64) - w.zero_point).T
    if call.has(2):
        sums = sums + call.value(2)
    if np.abs(sums).max(initial=0) > INT32_MAX:
        raise call.refused("a sum leaves 32 bits")
    real = float(x.scale) * w.scales.astype(np.float64) / float(call.output.scale)
    limits = activation_limits(call.output, call.options.get("fusedActivationFunction", 0))
    found = np.clip(round_away(sums * real) + call.output.zero_point, *limits)
    return [found.astype(call.output.dtype).reshape(call.output.shape)]


def batch_matmul(call: Call) -> list[Array]:
    """BATCH_MATMUL of two values, either with its last two axes swapped; int8."""
    a, b = call.tensor(0), call.tensor(1)
    left = call.value(0).astype(np.float64) - a.zero_point
    right = call.value(1).astype(np.float64) - b.zero_point
    left = left.swapaxes(-1, -2) if call.options["adjX"] else left
    right = right.swapaxes(-1, -2) if call.options["adjY"] else right
    sums = (left @ right).astype(np.int64)
    if np.abs(sums).max(initial=0) > INT32_MAX:
        raise call.refused("a sum leaves 32 bits")
    real = float(a.scale * b.scale) / float(call.output.scale)
    return [requantise(sums, find_multiplier(real), call.output)]
