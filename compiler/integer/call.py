"""A kernel with its arguments, and the constants that quantisation makes of scales and zeros."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm.tirx import PrimFunc

from edgeweave.compiler.integer.layer import Layer
from edgeweave.compiler.integer.reading import Quantised
from edgeweave.schedules.int8.dot import DotUnit
from edgeweave.schedules.int8.round import settings

LARGEST_SUM = 2**31 - 1


@dataclass(frozen=True)
class Call:
    """A kernel, and its arguments: names of the region's inputs, and constants."""

    function: PrimFunc
    arguments: tuple[str | np.ndarray, ...]


def corrected_bias(layer: Layer, rows: np.ndarray, unit: DotUnit) -> np.ndarray | None:
    """The bias of each row of weights with the zero point's share taken off, as int32.

    None where a sum could leave the range of int32.
    """
    x = next(operand for operand in layer.operands if isinstance(operand, Quantised))
    wide = rows.astype(np.int64)
    bias = np.zeros(len(wide), np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    corrected = bias - unit.stored_zero(x.zero, x.dtype) * wide.sum(1)
    reach = np.abs(bias) + 2 * 255 * np.abs(wide).sum(1)
    if reach.max(initial=0) > LARGEST_SUM:
        return None
    narrow: np.ndarray = corrected.astype(np.int32)
    return narrow


def multipliers(x: Quantised, scales: np.ndarray, result: Quantised, count: int) -> np.ndarray:
    """What sums are multiplied with, as ONNX Runtime's kernels compute it, for each filter."""
    scaled = (x.scale * scales).astype(np.float32) / result.scale
    return np.ascontiguousarray(np.broadcast_to(scaled.astype(np.float32), (count,)))


def kernel_settings(layer: Layer, x: Quantised, unit: DotUnit) -> np.ndarray:
    """The settings of ``round`` for a layer."""
    result = layer.result
    limits = np.iinfo(result.dtype)
    low = max(int(limits.min) - result.zero, layer.low / float(result.scale))
    high = min(int(limits.max) - result.zero, layer.high / float(result.scale))
    numbers = settings(
        unit.pad_word(x.zero, x.dtype),
        unit.offset(x.zero, x.dtype),
        result.zero,
        min(low, int(limits.max) - result.zero),
        max(high, int(limits.min) - result.zero),
    )
    return np.array(numbers, np.int32)
