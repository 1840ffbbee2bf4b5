"""A region as a small ONNX model of its own, in a form that equal regions share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from edgeweave.compiler.graph import GraphView, subgraphs

# Inputs that are weights when an initializer feeds them: passed at run time, not part of the code.
# Every other initializer (shapes, axes, scales, clip bounds) decides what the code is.
_WEIGHT_INPUTS: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1), "PRelu": (1,),
    "BatchNormalization": (1, 2, 3, 4), "InstanceNormalization": (1, 2), "Add": (0, 1),
    "LayerNormalization": (1, 2), "Sub": (0, 1), "Mul": (0, 1), "Div": (0, 1), "Gather": (0,),
    "LSTM": (1, 2, 3), "GRU": (1, 2, 3), "RNN": (1, 2, 3), "GroupNormalization": (1, 2),
}  # fmt: skip
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}


@dataclass(frozen=True)
class RegionModel:
    """The region's nodes as a model with canonical names.

    The graph inputs of ``proto`` are ``inputs`` followed by ``weights``, its outputs ``outputs``;
    these tuples hold the names in the whole model, in that order. ``digest`` is the SHA-256 of
    ``proto``, so regions that differ only in names and weight values share it.
    """

    proto: onnx.ModelProto
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    digest: str


def weight_names(view: GraphView, nodes: Sequence[int]) -> tuple[str, ...]:
    """Initializers that these nodes use as weights only, in the order of first use."""
    weights: dict[str, None] = {}
    constants: set[str] = set()
    for position in nodes:
        node = view.nodes[position]
        slots = _WEIGHT_INPUTS.get(node.op_type, ()) if not node.domain else ()
        for place, name in enumerate(node.input):
            if name in view.initializers:
                if place in slots and _is_weight(view.initializers[name]):
                    weights[name] = None
                else:
                    constants.add(name)
        constants |= {name for name in view.reads[position] if name not in node.input}
    return tuple(name for name in weights if name not in constants)


def _is_weight(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in _FLOATS and len(tensor.dims) > 0


def build_region_model(
    view: GraphView, nodes: Sequence[int], inputs: Sequence[str], outputs: Sequence[str]
) -> RegionModel:
    """Extract nodes (positions in topological order) as a model with canonical names."""
    weights = weight_names(view, nodes)
    names = _canonical_names(view, nodes, (inputs, weights, outputs))
    constants = dict.fromkeys(
        name
        for position in nodes
        for name in view.reads[position]
        if name in view.initializers and name not in weights
    )
    graph = helper.make_graph(
        [_renamed(view.nodes[position], names) for position in nodes],
        "region",
        [_info(view, name, names) for name in (*inputs, *weights)],
        [_info(view, name, names) for name in outputs],
        [_constant(view.initializers[name], names[name]) for name in constants],
    )
    proto = helper.make_model(
        graph, opset_imports=view.proto.opset_import, ir_version=view.proto.ir_version
    )
    proto.producer_name = ""
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    return RegionModel(proto, tuple(inputs), weights, tuple(outputs), digest)


def _canonical_names(
    view: GraphView, nodes: Sequence[int], border: tuple[Sequence[str], ...]
) -> dict[str, str]:
    """Names that do not depend on the model's: i0, w0 and o0 at the border, t0 inside.

    A subgraph refers to outer values by their own names, so those keep them, and no other value
    may take a name that a subgraph uses.
    """
    bodies = [body for p in nodes for body in subgraphs(view.nodes[p])]
    taken = {name for body in bodies for name in _all_names(body) if name}
    mark = "_" if taken else ""
    while mark and any(name.startswith(mark) for name in taken):
        mark += "_"
    names: dict[str, str] = {}
    for letter, group in zip("iwo", border, strict=True):
        names |= {name: f"{mark}{letter}{k}" for k, name in enumerate(group)}
    for position in nodes:
        for name in (*view.reads[position], *view.nodes[position].output):
            if name:
                names.setdefault(name, f"{mark}t{len(names)}")
    return names | {name: name for name in taken if name in names}


def _all_names(body: onnx.GraphProto) -> Iterator[str]:
    """Every name that a subgraph reads or defines, those of its own subgraphs included."""
    yield from (info.name for info in (*body.input, *body.output))
    yield from (tensor.name for tensor in body.initializer)
    for node in body.node:
        yield from (*node.input, *node.output)
        for inner in subgraphs(node):
            yield from _all_names(inner)


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.op_type, copy.domain, copy.overload = node.op_type, node.domain, node.overload
    copy.input.extend(names.get(name, "") for name in node.input)
    copy.output.extend(names.get(name, "") for name in node.output)
    copy.attribute.extend(sorted(node.attribute, key=lambda a: a.name))
    return copy


def _info(view: GraphView, name: str, names: dict[str, str]) -> onnx.ValueInfoProto:
    if name in view.initializers:
        tensor = view.initializers[name]
        return helper.make_tensor_value_info(names[name], tensor.data_type, list(tensor.dims))
    copy = onnx.ValueInfoProto()
    copy.name = names[name]
    if name in view.infos:  # an output of unknown type is left for ONNX Runtime to infer
        copy.type.CopyFrom(view.infos[name].type)
    return copy


def _constant(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    copy.doc_string = ""
    return copy
