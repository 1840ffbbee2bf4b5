"""Find what a quantised region computes: DequantizeLinear, one operator, bounds, QuantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edgeweave.compiler.integer.reading import OtherError, Quantised, Reader, attribute, expect

OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# A bias is added to the sums as it is when its scale is theirs; ONNX Runtime's quantiser rounds it
# to float32 once more often.
_SAME_SCALE = 1e-5


@dataclass(frozen=True)
class Constant:
    """Weights of 8 bits, zero point subtracted, and their scales along ``axis``, or one."""

    values: np.ndarray
    scale: np.ndarray
    axis: int


@dataclass(frozen=True)
class Layer:
    """What a region computes that multiplies and adds.

    ``operands`` are the operator's first two inputs, ``bias`` the third in the scale of the sums,
    None where there is none. ``low`` and ``high`` bound the real result, as Relu and Clip do.
    """

    operator: str
    attributes: Mapping[str, Any]
    operands: tuple[Quantised | Constant, Quantised | Constant]
    bias: np.ndarray | None
    low: float
    high: float
    result: Quantised


def find_layer(model: onnx.ModelProto) -> Layer | None:
    """The layer that a region's model computes; None where it is no such region."""
    try:
        return _layer(Reader(model))
    except OtherError:
        return None


def _layer(reader: Reader) -> Layer:
    found = [node for node in reader.nodes if node.op_type in OPERATORS]
    expect(len(found) == 1)
    operator, tail = found[0], []
    name = reader.last.input[0]
    while reader.maker(name) is not operator:
        tail.append(reader.maker(name))
        name = tail[-1].input[0]
    low, high = _bounds(reader, tail)
    operands = _operand(reader, operator.input[0]), _operand(reader, operator.input[1])
    bias = _bias(reader, operator, operands)
    used = 2 + len(tail) + len([name for name in operator.input if name])
    expect(used == len(reader.nodes))  # nothing else is computed
    attributes = {a.name: helper.get_attribute_value(a) for a in operator.attribute}
    return Layer(operator.op_type, attributes, operands, bias, low, high, reader.result())


def _bounds(reader: Reader, tail: list[onnx.NodeProto]) -> tuple[float, float]:
    """What a tail of Relu and Clip, last first, keeps the result between."""
    low, high = -np.inf, np.inf
    for node in reversed(tail):  # in the order they run
        if node.op_type == "Relu":
            least, most = 0.0, np.inf
        elif node.op_type == "Clip":
            expect(not node.attribute)  # bounds as attributes end with operator set 10
            least, most = reader.number(node, 1, -np.inf), reader.number(node, 2, np.inf)
            expect(least <= most)
        else:
            raise OtherError
        low, high = min(max(low, least), most), max(min(high, most), least)
    return low, high


def _operand(reader: Reader, name: str) -> Quantised | Constant:
    node = reader.maker(name)
    expect(node.op_type == "DequantizeLinear")
    return _weights(reader, node) if reader.is_constant(node.input[0]) else reader.dequantised(name)


def _weights(reader: Reader, node: onnx.NodeProto) -> Constant:
    values, axis = reader.constant(node.input[0]), attribute(node, "axis", 1)
    expect(values.dtype in (np.int8, np.uint8))
    scale, zero = reader.scale(node), reader.zero(node)
    expect(scale.ndim <= 1 and zero.size in (1, scale.size))
    if scale.size > 1:
        axis %= values.ndim
        expect(values.shape[axis] == scale.size)
        zero = zero.reshape([-1 if place == axis else 1 for place in range(values.ndim)])
    centred = values.astype(np.int16) - zero.astype(np.int16)
    expect(int(centred.min(initial=0)) >= -128 and int(centred.max(initial=0)) <= 127)
    return Constant(centred.astype(np.int8), scale.reshape(-1), axis)


def _bias(
    reader: Reader,
    operator: onnx.NodeProto,
    operands: tuple[Quantised | Constant, Quantised | Constant],
) -> np.ndarray | None:
    if len(operator.input) < 3 or not operator.input[2]:
        return None
    node = reader.maker(operator.input[2])
    expect(node.op_type == "DequantizeLinear")
    values, zero = reader.constant(node.input[0]), reader.zero(node)
    expect(values.dtype == np.int32 and values.ndim == 1 and not zero.any())
    left, right = operands
    wanted = np.asarray(left.scale * right.scale)
    expect(np.allclose(reader.scale(node), wanted, rtol=_SAME_SCALE, atol=0))
    return values
