"""Reads the parts of a quantised region: what is dequantised, with which scales and zero points."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import numpy_helper

_BYTES: dict[int, str] = {onnx.TensorProto.INT8: "int8", onnx.TensorProto.UINT8: "uint8"}
_MOST_ELEMENTS = 2**31  # kernels count them in int32


@dataclass(frozen=True)
class Quantised:
    """An activation of 8 bits: real value = scale * (value - zero)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: np.float32
    zero: int


class OtherError(Exception):
    """The region is none of those that are looked for."""


def expect(condition: bool) -> None:
    """Raise OtherError where something is not as it has to be."""
    if not condition:
        raise OtherError


class Reader:
    """A region's model; its methods raise OtherError where something has another form."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes = list(graph.node)
        expect(len(graph.output) == 1 and not any(node.domain for node in self.nodes))
        self.last = self.nodes[-1]
        expect(self.last.op_type == "QuantizeLinear")
        expect(self.last.output[0] == graph.output[0].name)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._types = {info.name: info.type.tensor_type for info in (*graph.input, *graph.output)}

    def maker(self, name: str) -> onnx.NodeProto:
        """The node that computes a value."""
        expect(name in self._makers)
        return self._makers[name]

    def is_constant(self, name: str) -> bool:
        """Whether a value is part of the model."""
        return name in self._constants

    def constant(self, name: str) -> np.ndarray:
        """A value that is part of the model."""
        expect(name in self._constants)
        return numpy_helper.to_array(self._constants[name])

    def number(self, node: onnx.NodeProto, place: int, default: float) -> float:
        """A constant input of one element; the default where it is left out."""
        if len(node.input) <= place or not node.input[place]:
            return default
        value = self.constant(node.input[place])
        expect(value.size == 1)
        return float(value.reshape(()))

    def dequantised(self, name: str) -> Quantised:
        """The activation that a value is dequantised from."""
        node = self.maker(name)
        expect(node.op_type == "DequantizeLinear")
        return self._quantised(node.input[0], node)

    def result(self) -> Quantised:
        """What the region returns."""
        return self._quantised(self.last.output[0], self.last)

    def _quantised(self, name: str, node: onnx.NodeProto) -> Quantised:
        scale, zero = self.scale(node), self.zero(node)
        expect(scale.size == 1 and zero.size == 1 and name in self._types)
        kind = self._types[name]
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        expect(kind.elem_type in _BYTES and kind.HasField("shape") and all(shape))
        expect(prod(shape) < _MOST_ELEMENTS)
        step, offset = np.float32(scale.reshape(())), int(zero.reshape(()))
        return Quantised(name, _BYTES[kind.elem_type], shape, step, offset)

    def scale(self, node: onnx.NodeProto) -> np.ndarray:
        """The scale or scales of a node that quantises or dequantises."""
        scale = self.constant(node.input[1])
        expect(scale.dtype == np.float32 and bool((scale > 0).all()))
        return scale

    def zero(self, node: onnx.NodeProto) -> np.ndarray:
        """Its zero point or points."""
        expect(not attribute(node, "block_size", 0))
        if len(node.input) < 3 or not node.input[2]:
            expect(node.op_type == "DequantizeLinear")  # its result's type says no zero point
            return np.zeros((), np.int32)
        return self.constant(node.input[2])


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An attribute that is an integer."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)
