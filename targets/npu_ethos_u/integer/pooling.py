"""MAX_POOL_2D, AVERAGE_POOL_2D, MEAN, REDUCE_MAX and REDUCE_MIN.

Pools keep the scale and zero point of their input. An average is over the taps inside of the
feature map, rounded half away from zero on the integers as they are stored.
"""

from __future__ import annotations

import math

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import Call, activation_limits, requantise
from edgeweave.targets.npu_ethos_u.integer.fixed_point import (
    INT32_MAX,
    Multiplier,
    find_multiplier,
)
from edgeweave.targets.npu_ethos_u.integer.model import Array
from edgeweave.targets.npu_ethos_u.integer.windows import make_axes, pad_axes, taps


def max_pool(call: Call) -> list[Array]:
    """MAX_POOL_2D: input (N, H, W, C)."""
    axes = make_axes(call, (call.options["filterHeight"], call.options["filterWidth"]))
    lowest, _ = call.tensor(0).limits
    padded = pad_axes(call.value(0), axes, lowest)
    shape = (len(padded), axes[0].output, axes[1].output, padded.shape[3])
    found = np.full(shape, lowest, call.output.dtype)
    for _, _, met in taps(padded, axes):
        np.maximum(found, met, out=found)
    return [_clipped(call, found)]


def average_pool(call: Call) -> list[Array]:
    """AVERAGE_POOL_2D: input (N, H, W, C)."""
    axes = make_axes(call, (call.options["filterHeight"], call.options["filterWidth"]))
    padded = pad_axes(call.value(0), axes, 0)
    shape = (len(padded), axes[0].output, axes[1].output, padded.shape[3])
    sums = np.zeros(shape, np.int32)
    for _, _, met in taps(padded, axes):
        sums += met
    counts = np.multiply.outer(axes[0].counts(), axes[1].counts())[None, :, :, None]
    counts = counts.astype(np.int32)
    if not counts.all():
        raise call.refused("a window lies in the padding altogether")
    found = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return [_clipped(call, found)]


def mean(call: Call) -> list[Array]:
    """MEAN over constant axes: one multiplier for the scales and the number of elements."""
    x, value, axes = call.tensor(0), call.value(0), _reduced(call)
    count = math.prod(value.shape[axis] for axis in axes)
    scale = find_multiplier(float(x.scale) / float(call.output.scale))
    bits = min(count.bit_length() - 1, 32, 31 + int(scale.exponent))
    by = Multiplier(
        np.asarray((int(scale.mantissa) << bits) // count), np.asarray(scale.exponent - bits)
    )
    sums = value.sum(axis=axes, dtype=np.int64) - x.zero_point * count
    if sums.size and np.abs(sums).max() > INT32_MAX:
        raise call.refused("its sums leave 32 bits")
    return [requantise(sums, by, call.output).reshape(call.output.shape)]


def reduce_max(call: Call) -> list[Array]:
    """REDUCE_MAX over constant axes; the quantisation stays."""
    return [call.value(0).max(axis=_reduced(call)).reshape(call.output.shape)]


def reduce_min(call: Call) -> list[Array]:
    """REDUCE_MIN over constant axes; the quantisation stays."""
    return [call.value(0).min(axis=_reduced(call)).reshape(call.output.shape)]


def _reduced(call: Call) -> tuple[int, ...]:
    rank = call.value(0).ndim
    return tuple(sorted({axis % rank for axis in call.integers(1)}))


def _clipped(call: Call, found: Array) -> Array:
    limits = activation_limits(call.output, call.options.get("fusedActivationFunction", 0))
    return np.clip(found, *limits).astype(call.output.dtype)
