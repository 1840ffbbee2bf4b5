"""A quantised stage with floats at its border: the form in which quantisers write models."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SMALL = (TensorProto.INT8, TensorProto.UINT8)


def has_quantised_borders(model: onnx.ModelProto) -> bool:
    """Whether an input or output of the model is an 8-bit integer."""
    borders = (*model.graph.input, *model.graph.output)
    return any(info.type.tensor_type.elem_type in _SMALL for info in borders)


def count_zero_points(model: onnx.ModelProto) -> int:
    """How many quantised tensors have a zero point other than 0."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    points: dict[str, str] = {}  # quantised value -> its zero point
    for node in model.graph.node:
        if len(node.input) == 3 and node.input[2]:
            if node.op_type == "QuantizeLinear":
                points[node.output[0]] = node.input[2]
            elif node.op_type == "DequantizeLinear":
                points[node.input[0]] = node.input[2]
    arrays = {
        name: numpy_helper.to_array(weights[name]) for name in {*points.values()} & {*weights}
    }
    return sum(bool(np.any(arrays[name])) for name in points.values() if name in arrays)


def with_float_borders(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each 8-bit input quantised first and each 8-bit output dequantised last.

    Names at the border stay. An input that no DequantizeLinear reads, or an output that no
    QuantizeLinear makes, has no scale and stays an integer.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    first, last = [], []
    for info in graph.input:
        pair = _scale_of_input(graph, info.name)
        if info.type.tensor_type.elem_type in _SMALL and pair:
            inner = f"{info.name}_quantized"
            _rename_reads(graph, info.name, inner)
            first.append(_conversion("QuantizeLinear", info.name, inner, pair))
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    for info in graph.output:
        pair = _scale_of_output(graph, info.name)
        if info.type.tensor_type.elem_type in _SMALL and pair:
            inner = f"{info.name}_quantized"
            _rename_reads(graph, info.name, inner)
            _rename_made(graph, info.name, inner)
            last.append(_conversion("DequantizeLinear", inner, info.name, pair))
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = [*first, *graph.node, *last]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return result


def _conversion(kind: str, read: str, made: str, pair: tuple[str, ...]) -> onnx.NodeProto:
    return helper.make_node(kind, [read, *pair], [made], name=f"{made}_{kind}")


def _scale_of_input(graph: onnx.GraphProto, name: str) -> tuple[str, ...] | None:
    """Scale and zero point of the first DequantizeLinear that reads the value."""
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] == name:
            return tuple(node.input[1:])
    return None


def _scale_of_output(graph: onnx.GraphProto, name: str) -> tuple[str, ...] | None:
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] == name:
            return tuple(node.input[1:])
    return None


def _rename_reads(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def _rename_made(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == old:
                node.output[place] = new
