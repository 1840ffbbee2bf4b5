"""Find quantised regions of one operator that moves or compares values, or looks them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edgeweave.compiler.integer.reading import OtherError, Quantised, Reader, expect

OPERATORS = frozenset({"MaxPool", "Pad", "Softmax", "Transpose"})
_ONNX = ("", "ai.onnx")


@dataclass(frozen=True)
class Unary:
    """An operator on one activation; ``constants`` are its other inputs, None where left out."""

    operator: str
    attributes: Mapping[str, Any]
    opset: int
    operand: Quantised
    constants: tuple[np.ndarray | None, ...]
    result: Quantised

    @property
    def keeps_values(self) -> bool:
        """Whether equal bytes mean equal values in operand and result."""
        before, after = self.operand, self.result
        return (before.dtype, before.scale, before.zero) == (after.dtype, after.scale, after.zero)


def find_unary(model: onnx.ModelProto) -> Unary | None:
    """The operator between a region's DequantizeLinear and QuantizeLinear; None for others."""
    try:
        return _unary(Reader(model), model)
    except OtherError:
        return None


def _unary(reader: Reader, model: onnx.ModelProto) -> Unary:
    operator = reader.maker(reader.last.input[0])
    expect(operator.op_type in OPERATORS and len(reader.nodes) == 3)
    return Unary(
        operator.op_type,
        {a.name: helper.get_attribute_value(a) for a in operator.attribute},
        next((int(o.version) for o in model.opset_import if o.domain in _ONNX), 0),
        reader.dequantised(operator.input[0]),
        tuple(reader.constant(name) if name else None for name in operator.input[1:]),
        reader.result(),
    )
