"""Where a quantised model rounds: at values and at weights, each of which can be tried alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeweave.compiler.graph import GraphView, view_graph

# How ONNX Runtime names what stands before a QuantizeLinear that makes an output of the model, and
# what a weight's DequantizeLinear returns.
_BEFORE_OUTPUT = "_QuantizeLinear_Input"
_WEIGHT = "_DequantizeLinear_Output"


@dataclass(frozen=True)
class Points:
    """The roundings of a quantised model, under the names of the float model it was made from.

    ``values`` are scale and zero point of int8 values; ``weights`` what constants became.
    """

    values: dict[str, tuple[np.ndarray, np.ndarray]]
    weights: dict[str, np.ndarray]


def find_points(float_view: GraphView, quantised: onnx.ModelProto) -> Points:
    """Where ``quantised``, made from the model of ``float_view``, rounds."""
    view = view_graph(quantised)
    tensors = {name: numpy_helper.to_array(t) for name, t in view.initializers.items()}
    values, weights = {}, {}
    for node in view.nodes:
        if node.op_type == "QuantizeLinear":
            name = node.input[0].removesuffix(_BEFORE_OUTPUT)
            values[name] = (tensors[node.input[1]], tensors[node.input[2]])
        elif node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            name = node.output[0].removesuffix(_WEIGHT)
            if name in float_view.initializers:
                weights[name] = _dequantised(node, tensors)
    return Points(values, weights)


def _dequantised(node: onnx.NodeProto, tensors: dict[str, np.ndarray]) -> np.ndarray:
    whole, scale = tensors[node.input[0]], tensors[node.input[1]]
    zero = tensors[node.input[2]].astype(np.int64)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.ndim:
        shape = [1] * whole.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((whole.astype(np.int64) - zero) * scale, np.float32)


def with_points(
    proto: onnx.ModelProto, points: Points, values: Collection[str], weights: Collection[str]
) -> onnx.ModelProto:
    """The float model that rounds at these values and weights only."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(points.weights[tensor.name], tensor.name))
    outputs = {info.name for info in graph.output}
    # what reads a rounded value reads it under this name; an output of the model keeps its own
    rounded = {name: name if name in outputs else f"{name}/rounded" for name in values}
    nodes: list[onnx.NodeProto] = []
    for info in graph.input:
        if info.name in rounded:
            nodes += _rounding(graph, points, info.name, info.name, rounded[info.name])
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = rounded.get(name, name)
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in rounded:
                source = f"{name}/float" if name in outputs else name
                node.output[place] = source
                nodes += _rounding(graph, points, name, source, rounded[name])
    result_nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(result_nodes)
    return result


def _rounding(
    graph: onnx.GraphProto, points: Points, name: str, source: str, result: str
) -> list[onnx.NodeProto]:
    scale, zero = (f"{name}/scale", f"{name}/zero")
    for tensor, made in zip(points.values[name], (scale, zero), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(tensor), made))
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{name}/int8"]),
        helper.make_node("DequantizeLinear", [f"{name}/int8", scale, zero], [result]),
    ]
