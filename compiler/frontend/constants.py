"""Folding of everything that does not depend on the model's inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeweave.compiler.frontend.infer import infer_types
from edgeweave.compiler.frontend.weights import add_weight, attribute, is_op, name_of, opset

RANDOM = frozenset(
    [
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
    ]
)
# Quantised weights stay quantised: their scale and zero point are what an integer engine needs.
_KEPT = frozenset(["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Dropout"])
# A folded model must stay below the 2 GiB of a protobuf.
_LARGEST_BYTES = 3 * 2**29


def fold_constants(model: ir.Model) -> int:
    """Turn nodes that compute constants into initializers; how many nodes went.

    ``Shape`` and ``Size`` of a value of known shape are constants. Quantisation and random nodes
    stay, and so does a node whose constant the model returns.
    """
    total = 0
    while True:
        infer_types(model)
        folded = _lift_constants(model) + _fold_shapes(model.graph) + _fold_computed(model)
        total += folded
        if not folded:
            return total


def _lift_constants(model: ir.Model) -> int:
    before = sum(1 for _ in model.graph.all_nodes())
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return before - sum(1 for _ in model.graph.all_nodes())


def _fold_shapes(graph: ir.Graph) -> int:
    count = 0
    for node in list(graph):
        if not is_op(node, "Shape", "Size") or node.outputs[0].is_graph_output():
            continue
        source = node.inputs[0]
        if source is None or source.shape is None:
            continue
        dims = [dim for dim in source.shape.dims if isinstance(dim, int)]
        if len(dims) < len(source.shape.dims):
            continue
        result = np.array(_shape_or_size(node, dims), dtype=np.int64)
        _replace(graph, node.outputs[0], result)
        graph.remove(node, safe=True)
        count += 1
    return count


def _shape_or_size(node: ir.Node, dims: list[int]) -> list[int] | int:
    if node.op_type == "Size":
        return math.prod(dims)
    return dims[attribute(node, "start", 0) : attribute(node, "end")]


def _fold_computed(model: ir.Model) -> int:
    graph = model.graph
    constant = _constant_nodes(graph)
    if not constant:
        return 0
    # Only what other nodes read becomes a weight; constants on the way to it need no storage.
    wanted = [
        value
        for node in constant
        for value in node.outputs
        if any(user not in constant for user in value.consumers())
    ]
    if sum(_bytes(value) for value in wanted) > _LARGEST_BYTES:
        return 0
    for value, array in zip(wanted, _evaluate(model, list(constant), wanted), strict=True):
        _replace(graph, value, array)
    for node in reversed(constant):
        if not any(value.uses() for value in node.outputs):
            graph.remove(node, safe=True)
    return len(constant)


def _constant_nodes(graph: ir.Graph) -> dict[ir.Node, None]:
    """The nodes that can be evaluated now, in topological order."""
    found: dict[ir.Node, None] = {}
    returned = set(graph.outputs)
    for node in graph:
        if (
            node.domain not in ("", "ai.onnx")
            or node.op_type in RANDOM | _KEPT
            or any(
                a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
                for a in node.attributes.values()
            )
            or any(value in returned for value in node.outputs)
            or not all(_has_numpy_tensor(value) for value in node.outputs if value.name)
        ):
            continue
        if all(v is None or v.is_initializer() or v.producer() in found for v in node.inputs):
            found[node] = None
    return found


def _has_numpy_tensor(value: ir.Value) -> bool:
    if not isinstance(value.type, ir.TensorType):
        return False
    return value.type.dtype.name in _NUMPY_TYPES


_NUMPY_TYPES = frozenset(
    [
        "FLOAT",
        "DOUBLE",
        "FLOAT16",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "BOOL",
        "STRING",
    ]
)


def _bytes(value: ir.Value) -> int:
    dims = value.shape.dims if value.shape is not None else ()
    known = [d for d in dims if isinstance(d, int)]
    return math.prod(known) * max(1, int(value.type.dtype.itemsize)) if value.type else 0


def _evaluate(model: ir.Model, nodes: list[ir.Node], wanted: list[ir.Value]) -> list[Any]:
    """The arrays of ``wanted``, computed by ONNX Runtime from initializers alone."""
    from edgeweave.compiler.frontend.reference import Reference

    if not wanted:
        return []
    weights = {v for node in nodes for v in node.inputs if v is not None and v.is_initializer()}
    proto = onnx.GraphProto(name="constants")
    proto.node.extend(ir.to_proto(node) for node in nodes)
    for weight in weights:
        if weight.const_value is not None:
            tensor = ir.to_proto(weight.const_value)
            tensor.name = name_of(weight)
            proto.initializer.append(tensor)
    proto.output.extend(onnx.ValueInfoProto(name=value.name) for value in wanted)
    imports = [onnx.helper.make_opsetid("", opset(model))]
    holder = onnx.helper.make_model(proto, opset_imports=imports, ir_version=model.ir_version)
    return Reference(holder).run({})


def _replace(graph: ir.Graph, value: ir.Value, array: np.ndarray) -> None:
    name = value.name or "constant"
    value.replace_all_uses_with(add_weight(graph, name, array))
