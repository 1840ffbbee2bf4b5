"""Sums, differences, products and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeweave.targets.npu_ethos_u.emit.bounds import ACTIVATIONS, fused_activation
from edgeweave.targets.npu_ethos_u.emit.convolutions import convolve
from edgeweave.targets.npu_ethos_u.emit.emission import Emission, Placed
from edgeweave.targets.npu_ethos_u.emit.kernel import read_kernel, read_weights
from edgeweave.targets.npu_ethos_u.emit.layout import Layout, channels_last, plain
from edgeweave.targets.npu_ethos_u.emit.quantized import Constant, Operand, Operator, Value
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused
from edgeweave.targets.npu_ethos_u.emit.window import POINT

_CODES = {
    "Add": ("ADD", "AddOptions"),
    "Sub": ("SUB", "SubOptions"),
    "Mul": ("MUL", "MulOptions"),
    "Div": ("MUL", "MulOptions"),
}


def emit_elementwise(emission: Emission, operator: Operator) -> None:
    """Add, Sub and Mul with broadcasting; Div by one constant is Mul by its inverse."""
    left, right = operator.inputs
    if operator.kind == "Div":
        right = _inverse(operator)
    if not isinstance(left, Value) and not isinstance(right, Value):
        raise Refused("ethos-u.quantised", f"{operator} reads constants only")
    layout = common_layout(emission, operator, [left, right])
    fused = fused_activation(operator)
    inputs = [aligned(emission, operator, operand, layout).tensor for operand in (left, right)]
    there = emission.result(operator, layout)
    code, options = _CODES[operator.kind]
    fields = {"fusedActivationFunction": ACTIVATIONS[fused]}
    emission.operator(code, inputs, there.tensor, 2, options, fields)
    emission.settle(operator, there, fused)


def common_layout(emission: Emission, operator: Operator, operands: list[Operand]) -> Layout:
    """The layout in which the largest operand lies, in the rank of the result."""
    values = [operand for operand in operands if isinstance(operand, Value)]
    largest = max(values, key=lambda value: int(np.prod(value.shape)))
    return _ranked(emission, emission.values[largest.name], operator.output.shape).layout


def aligned(emission: Emission, operator: Operator, operand: Operand, layout: Layout) -> Placed:
    """An operand with the rank of the result, in the given layout."""
    if isinstance(operand, Value):
        placed = _ranked(emission, emission.values[operand.name], operator.output.shape)
        return emission.transposed(placed, layout)
    rank = len(layout)
    if isinstance(operand, Constant):
        shape = (1,) * (rank - operand.numbers.ndim) + operand.numbers.shape
        operand = Constant(
            operand.name,
            operand.numbers.reshape(shape),
            operand.scales,
            operand.zero_point,
            operand.axis,
        )
    elif operand is not None:
        operand = operand.reshape((1,) * (rank - operand.ndim) + operand.shape)
    return emission.read(operand, operator, layout)


def _ranked(emission: Emission, placed: Placed, shape: tuple[int, ...]) -> Placed:
    return emission.reshaped(placed, (1,) * (len(shape) - len(placed.shape)) + placed.shape)


def _inverse(operator: Operator) -> NDArray[Any]:
    divisor = operator.plain(1)
    if divisor is None or divisor.size != 1 or float(divisor.reshape(-1)[0]) == 0:
        raise Refused("ethos-u.operator", f"{operator} divides by more than one number, or by 0")
    return np.asarray(1 / divisor.astype(np.float64))


def emit_matrix_product(emission: Emission, operator: Operator) -> None:
    """Gemm and MatMul with constant weights as a 1x1 CONV_2D: a row is a pixel.

    Not as FULLY_CONNECTED, which LiteRT rounds once and the accelerator twice.
    """
    attributes = operator.attributes
    bias = len(operator.inputs) > 2 and operator.inputs[2] is not None
    factors = [attributes.get("alpha", 1.0), attributes.get("beta", 1.0) if bias else 1.0]
    if factors != [1.0, 1.0] or attributes.get("transA"):
        raise Refused("ethos-u.matrix-product", f"{operator} has factors or a transposed input")
    if isinstance(operator.inputs[1], Value):
        _emit_product_of_values(emission, operator)
        return
    transposed = bool(attributes.get("transB"))
    constant = read_weights(operator, 1, outputs=0 if transposed else 1)
    matrix = constant.numbers if transposed else constant.numbers.transpose()
    if matrix.ndim != 2:
        raise Refused("ethos-u.matrix-product", f"{operator} has weights of rank {matrix.ndim}")
    outputs, inputs = matrix.shape
    x = emission.read(operator.value(0), operator)
    if attributes.get(FLATTENED):
        x = emission.transposed(x, channels_last(4))  # the weights' columns follow this order
    else:
        x = emission.transposed(x, plain(len(x.shape)))
    rows = int(np.prod(x.shape)) // inputs
    pixels = emission.viewed(x, (1, inputs, rows, 1), channels_last(4))
    weights = Constant(constant.name, matrix[:, :, None, None], constant.scales, 0, 0)
    kernel = read_kernel(operator, x, weights, bias=2)
    fused = fused_activation(operator)
    there = emission.result(operator, channels_last(4), (1, outputs, rows, 1))
    convolve(emission, pixels, kernel, POINT, there, fused)
    shape = operator.output.shape
    emission.settle(operator, emission.viewed(there, shape, plain(len(shape))), fused)


FLATTENED = "flattened"
"""Attribute of a matrix product that reads an image as one row; its weights expect (H, W, C)."""


def _emit_product_of_values(emission: Emission, operator: Operator) -> None:
    left, right = (emission.read(operator.value(place), operator) for place in (0, 1))
    rank = len(operator.output.shape)
    if operator.kind != "MatMul" or not len(left.shape) == len(right.shape) == rank >= 2:
        raise Refused("ethos-u.matrix-product", f"{operator} multiplies values of unequal ranks")
    there = emission.result(operator, plain(rank))
    inputs = [emission.transposed(value, plain(rank)).tensor for value in (left, right)]
    fields = {"adjX": False, "adjY": False, "asymmetricQuantizeInputs": False}
    emission.operator("BATCH_MATMUL", inputs, there.tensor, 2, "BatchMatMulOptions", fields)
    emission.settle(operator, there)
