"""A quantised product of matrices as a kernel and the constants it reads."""

from __future__ import annotations

from math import prod

import numpy as np
from tvm.target import Target

from edgeweave.compiler.integer.call import (
    LARGEST_SUM,
    Call,
    corrected_bias,
    kernel_settings,
    multipliers,
)
from edgeweave.compiler.integer.layer import Constant, Layer
from edgeweave.compiler.integer.reading import Quantised
from edgeweave.schedules.int8.dot import SIGN, DotUnit, find_dot
from edgeweave.schedules.int8.matmul import MatmulKernel, MatmulShape, Side


def product(layer: Layer, target: Target) -> Call | None:
    """The call that computes a MatMul or a Gemm; None where no kernel has its form."""
    plain = _transposed(layer) if layer.operator == "Gemm" else layer
    if plain is None:
        return None
    return _product(plain, target)


def _product(layer: Layer, target: Target) -> Call | None:
    left, right = layer.operands
    unit, cores = find_dot(target), int(target.attrs.get("num-cores", 1))
    if isinstance(left, Quantised) and isinstance(right, Constant):
        return _by_weights(layer, left, right, unit, cores)
    if isinstance(left, Quantised) and isinstance(right, Quantised) and layer.bias is None:
        return _of_activations(layer, left, right, unit, cores)
    return None


def product_of_rows(layer: Layer, x: Quantised, weights: Constant, target: Target) -> Call | None:
    """The call for a convolution whose filters, one each along axis 0, cover the whole image."""
    rows = weights.values.reshape(len(weights.values), -1)
    turned = Constant(np.ascontiguousarray(rows.T), weights.scale, 1)
    unit, cores = find_dot(target), int(target.attrs.get("num-cores", 1))
    return _by_weights(layer, x, turned, unit, cores)


def _transposed(layer: Layer) -> Layer | None:
    """A Gemm as a MatMul; None where it scales, or transposes an activation."""
    given = layer.attributes
    left, right = layer.operands
    if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
        return None
    if not given.get("transB", 0):
        return layer
    if not isinstance(right, Constant):
        return None
    turned = Constant(np.ascontiguousarray(right.values.T), right.scale, 1 - right.axis)
    return Layer(
        layer.operator, {}, (left, turned), layer.bias, layer.low, layer.high, layer.result
    )


def _by_weights(
    layer: Layer, left: Quantised, right: Constant, unit: DotUnit, cores: int
) -> Call | None:
    values = right.values
    if values.ndim != 2 or (right.scale.size > 1 and right.axis != 1):
        return None
    inner, columns = values.shape
    bias = corrected_bias(layer, values.T, unit)
    rows = prod(left.shape) // inner
    if bias is None or bias.size != columns or prod(layer.result.shape) != rows * columns:
        return None
    shape = MatmulShape(1, rows, inner, columns)
    kernel = MatmulKernel.choose(
        shape, unit, cores, "right", (left.dtype, "int8"), layer.result.dtype
    )
    padding = (0, kernel.padded_columns - columns)
    scale = multipliers(left, right.scale, layer.result, columns)
    more = (unit.offset(left.zero, left.dtype), 0, 0)
    return Call(
        kernel.function(left.shape, (), layer.result.shape),
        (
            left.name,
            kernel.pack(values),
            np.pad(bias, padding),
            np.pad(scale, padding),
            np.append(kernel_settings(layer, left, unit), np.array(more, np.int32)),
        ),
    )


def _of_activations(
    layer: Layer, left: Quantised, right: Quantised, unit: DotUnit, cores: int
) -> Call | None:
    shape = _batched(left.shape, right.shape)
    if shape is None or shape.inner * 255 * 255 * 2 > LARGEST_SUM:
        return None
    weights: Side = "none"
    kernel = MatmulKernel.choose(
        shape, unit, cores, weights, (left.dtype, right.dtype), layer.result.dtype
    )
    of_right = unit.stored_zero(right.zero, right.dtype)
    of_left = left.zero - (SIGN if left.dtype == "uint8" else 0) if unit.depth == 4 else 0
    bias = np.full(shape.rows, shape.inner * of_left * of_right, np.int32)
    scale = multipliers(left, np.array([right.scale], np.float32), layer.result, shape.rows)
    more = (unit.offset(left.zero, left.dtype), of_right, of_left)
    return Call(
        kernel.function(left.shape, right.shape, layer.result.shape),
        (
            left.name,
            right.name,
            bias,
            scale,
            np.append(kernel_settings(layer, right, unit), np.array(more, np.int32)),
        ),
    )


def _batched(left: tuple[int, ...], right: tuple[int, ...]) -> MatmulShape | None:
    """The products that two stacks of matrices make; None where one stack is repeated."""
    if len(left) < 2 or len(right) < 2:
        return None
    if len(right) == 2:
        return MatmulShape(1, prod(left[:-1]), right[0], right[1])
    if left[:-2] != right[:-2]:
        return None
    return MatmulShape(prod(left[:-2]), left[-2], right[-2], right[-1])
