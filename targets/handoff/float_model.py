"""A quantised stage as a float model and a table of scales, for tools that take no Q/DQ nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SMALL = (TensorProto.INT8, TensorProto.UINT8)


@dataclass(frozen=True)
class FloatStage:
    """The model without QuantizeLinear and DequantizeLinear; names at its border stay.

    ``scales`` maps each quantised activation to the step of a symmetric int8 range (-127 to 127)
    that holds its own. ``shifted`` counts those whose zero point is not 0, so that this range is
    wider, ``conflicts`` those that were quantised in several ranges.
    """

    model: onnx.ModelProto
    scales: Mapping[str, float]
    shifted: int
    conflicts: int


def strip_quantisation(model: onnx.ModelProto) -> FloatStage:
    """Take the conversions out of a model; weights behind a DequantizeLinear become floats."""
    return _Stripper(model).strip()


class _Stripper:
    """What was found while the nodes are gone through in order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.same: dict[str, str] = {}  # a value of a conversion -> the float value it stands for
        self.floats: dict[str, onnx.TensorProto] = {}
        self.scales: dict[str, float] = {}
        self.shifted: set[str] = set()
        self.conflicts: set[str] = set()

    def strip(self) -> FloatStage:
        kept = []
        for node in self.model.graph.node:
            if node.op_type == "QuantizeLinear":
                self._alias(node)
            elif node.op_type == "DequantizeLinear" and node.input[0] in self.weights:
                self.floats[node.output[0]] = self._dequantised(node)
            elif node.op_type == "DequantizeLinear":
                self._alias(node)
            else:
                copy = onnx.NodeProto.FromString(node.SerializeToString())
                copy.input[:] = [self.same.get(name, name) for name in node.input]
                kept.append(copy)
        kept += self._name_outputs(kept)
        return FloatStage(self._rebuilt(kept), self.scales, len(self.shifted), len(self.conflicts))

    def _alias(self, node: onnx.NodeProto) -> None:
        """Note the range of a conversion, and that its result stands for its input."""
        source = self.same.get(node.input[0], node.input[0])
        self.same[node.output[0]] = source
        low, high = self._range(node)
        scale = max(abs(low), abs(high)) / 127
        if not np.isclose(-low, high):
            self.shifted.add(source)
        known = self.scales.setdefault(source, scale)
        if not np.isclose(known, scale, rtol=1e-5):
            self.conflicts.add(source)
            self.scales[source] = max(known, scale)

    def _range(self, node: onnx.NodeProto) -> tuple[float, float]:
        """The least and greatest real value of the quantised type; 127 steps each way if even."""
        scale = float(np.max(numpy_helper.to_array(self.weights[node.input[1]])))
        zero = np.zeros((), np.uint8)
        if len(node.input) == 3 and node.input[2]:
            zero = numpy_helper.to_array(self.weights[node.input[2]])
        limits = np.iinfo(zero.dtype)
        point = int(zero.reshape(-1)[0])
        low = limits.min + 1 if point == 0 and limits.min < 0 else limits.min
        return (low - point) * scale, (limits.max - point) * scale

    def _dequantised(self, node: onnx.NodeProto) -> onnx.TensorProto:
        value = numpy_helper.to_array(self.weights[node.input[0]])
        scale = numpy_helper.to_array(self.weights[node.input[1]])
        zero = np.zeros_like(scale)
        if len(node.input) == 3 and node.input[2]:
            zero = numpy_helper.to_array(self.weights[node.input[2]]).astype(scale.dtype)
        if scale.size > 1:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            along = [-1 if place == axis % value.ndim else 1 for place in range(value.ndim)]
            scale, zero = scale.reshape(along), zero.reshape(along)
        real = ((value.astype(np.float32) - zero) * scale).astype(np.float32)
        return numpy_helper.from_array(real, node.output[0])

    def _name_outputs(self, kept: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Give what an output stands for its name; an Identity where that has a name to keep."""
        inputs = {info.name for info in self.model.graph.input}
        copies = []
        for info in self.model.graph.output:
            source = self.same.get(info.name, info.name)
            if source == info.name:
                continue
            taken = {out.name for out in self.model.graph.output}
            if source in inputs or source in taken:
                copies.append(helper.make_node("Identity", [source], [info.name], name=info.name))
                continue
            for node in kept:
                node.input[:] = [info.name if name == source else name for name in node.input]
                node.output[:] = [info.name if name == source else name for name in node.output]
            self.scales[info.name] = self.scales.pop(source)
            self.same = {k: info.name if v == source else v for k, v in self.same.items()}
        return copies

    def _rebuilt(self, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
        graph = self.model.graph
        reads = {name for node in nodes for name in node.input}
        weights = [*self.weights.values(), *self.floats.values()]
        borders = []
        for infos in (graph.input, graph.output):
            copies = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in infos]
            for info in copies:
                if info.type.tensor_type.elem_type in _SMALL:
                    info.type.tensor_type.elem_type = TensorProto.FLOAT
            borders.append(copies)
        stripped = helper.make_graph(
            nodes,
            graph.name,
            borders[0],
            borders[1],
            [tensor for tensor in weights if tensor.name in reads],
        )
        return helper.make_model(
            stripped,
            opset_imports=self.model.opset_import,
            ir_version=self.model.ir_version,
            producer_name=self.model.producer_name,
        )
