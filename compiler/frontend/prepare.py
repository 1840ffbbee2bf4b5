"""What every model needs before ONNX Runtime may judge it: order, weights, dense tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.model import Rewrite

# From this IR version on an initializer need not be listed as a graph input.
_FREE_INITIALIZERS_IR = 4


def prepare(subject: str, proto: onnx.ModelProto) -> list[Rewrite]:
    """Bring ``proto`` into the form all later code relies on, in place; what was done.

    Nodes in topological order, no weight listed as a graph input, no sparse weight. Raises
    ``ModelError`` for a cyclic graph.
    """
    done = [
        Rewrite("weights-as-inputs", _strip_weights_from_inputs(proto)),
        Rewrite("sparse-weights", _densify(proto.graph)),
        Rewrite("node-order", _sort(subject, proto.graph, set())),
    ]
    return [rewrite for rewrite in done if rewrite.count]


def _strip_weights_from_inputs(proto: onnx.ModelProto) -> int:
    weights = {tensor.name for tensor in proto.graph.initializer}
    weights |= {sparse.values.name for sparse in proto.graph.sparse_initializer}
    kept = [info for info in proto.graph.input if info.name not in weights]
    stripped = len(proto.graph.input) - len(kept)
    if stripped:
        kept = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in kept]
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
    if proto.ir_version < _FREE_INITIALIZERS_IR:
        proto.ir_version = _FREE_INITIALIZERS_IR
    return stripped


def _densify(graph: onnx.GraphProto) -> int:
    count = len(graph.sparse_initializer)
    for sparse in graph.sparse_initializer:
        values = onnx.numpy_helper.to_array(sparse.values)
        indices = onnx.numpy_helper.to_array(sparse.indices)
        dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
        graph.initializer.append(onnx.numpy_helper.from_array(dense, sparse.values.name))
    del graph.sparse_initializer[:]
    return count


def _sort(subject: str, graph: onnx.GraphProto, outer: set[str]) -> int:
    """Order the nodes of a graph and its subgraphs topologically; how many graphs changed."""
    visible = outer | {i.name for i in graph.input} | {t.name for t in graph.initializer}
    ordered = _ordered(subject, graph, visible)
    changed = 0
    if any(a is not b for a, b in zip(ordered, graph.node, strict=True)):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)
        changed = 1
    visible |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        for subgraph in subgraphs(node):
            changed += _sort(subject, subgraph, visible)
    return changed


def _ordered(subject: str, graph: onnx.GraphProto, visible: set[str]) -> list[onnx.NodeProto]:
    """The nodes in topological order, those already in order left where they are."""
    nodes = list(graph.node)
    if _is_sorted(nodes, visible):
        return nodes
    producer = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    waiting = [{producer[n] for n in reads(node) if n in producer} for node in nodes]
    readers: dict[int, list[int]] = {}
    for i, needed in enumerate(waiting):
        for j in needed:
            readers.setdefault(j, []).append(i)
    ready = [i for i, needed in enumerate(waiting) if not needed]
    order: list[int] = []
    for i in ready:  # grows while it is read
        order.append(i)
        for reader in readers.get(i, ()):
            waiting[reader].discard(i)
            if not waiting[reader]:
                ready.append(reader)
    if len(order) < len(nodes):
        stuck = next(node for i, node in enumerate(nodes) if waiting[i])
        raise ModelError(
            subject,
            f"the graph is cyclic: {node_label(stuck)} depends on its own output",
            "Export the model again",
        )
    return [nodes[i] for i in order]


def _is_sorted(nodes: list[onnx.NodeProto], visible: set[str]) -> bool:
    later = {name for node in nodes for name in node.output if name} - visible
    for node in nodes:
        if any(name in later for name in reads(node)):
            return False
        later.difference_update(node.output)
    return True


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Every name a node reads, those its subgraphs take from outside included."""
    yield from (name for name in node.input if name)
    for subgraph in subgraphs(node):
        own = {i.name for i in subgraph.input} | {t.name for t in subgraph.initializer}
        own |= {name for inner in subgraph.node for name in inner.output}
        for inner in subgraph.node:
            yield from (name for name in reads(inner) if name not in own)
        yield from (output.name for output in subgraph.output if output.name not in own)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs a node holds as attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def node_label(node: onnx.NodeProto) -> str:
    """How a message names a node: its operator and its name, or what it computes."""
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    name = node.name or ", ".join(node.output)
    return f"{operator} node {name!r}"


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph, those of its subgraphs included."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs(node):
            yield from all_nodes(subgraph)
