"""Lookups over the main graph of an ONNX model, built once per model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx

from edgeweave.compiler.types import value_spec
from edgeweave.runtime.spec import ValueSpec


@dataclass(frozen=True)
class GraphView:
    """Who produces and who reads each value of a model's main graph.

    ``reads[n]`` are the names node ``n`` needs, those captured by its subgraphs included, each
    once. ``consumers`` lists reading nodes in ascending order. ``infos`` and ``specs`` hold every
    value whose type is known; a value that is absent has a type that inference could not find.
    """

    proto: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    reads: tuple[tuple[str, ...], ...]
    producer: dict[str, int]
    consumers: dict[str, tuple[int, ...]]
    initializers: dict[str, onnx.TensorProto]
    infos: dict[str, onnx.ValueInfoProto]
    specs: dict[str, ValueSpec]
    outputs: frozenset[str]

    def spec(self, name: str) -> ValueSpec:
        """Type and shape of a value; type "" when it is not known."""
        return self.specs.get(name) or ValueSpec(name, "", None)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The static shape of a value or initializer, or None."""
        if name in self.initializers:
            return tuple(self.initializers[name].dims)
        spec = self.spec(name)
        if spec.shape is None or not spec.is_static:
            return None
        return tuple(d for d in spec.shape if d is not None)


def view_graph(proto: onnx.ModelProto) -> GraphView:
    """Index a model whose nodes are in topological order."""
    graph = proto.graph
    reads = tuple(tuple(dict.fromkeys(names_read(node))) for node in graph.node)
    consumers: dict[str, list[int]] = {}
    for position, names in enumerate(reads):
        for name in names:
            consumers.setdefault(name, []).append(position)
    typed = [*graph.value_info, *graph.input, *graph.output]
    infos = {info.name: info for info in typed if info.type.WhichOneof("value")}
    return GraphView(
        proto=proto,
        nodes=tuple(graph.node),
        reads=reads,
        producer={o: i for i, node in enumerate(graph.node) for o in node.output if o},
        consumers={name: tuple(found) for name, found in consumers.items()},
        initializers={tensor.name: tensor for tensor in graph.initializer},
        infos=infos,
        specs={name: value_spec(info) for name, info in infos.items()},
        outputs=frozenset(info.name for info in graph.output),
    )


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of If, Loop, Scan and the like."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Names a node reads from the graph it stands in, captured ones included."""
    yield from (name for name in node.input if name)
    for body in subgraphs(node):
        yield from _captured(body)


def _captured(body: onnx.GraphProto) -> Iterator[str]:
    own = {info.name for info in body.input} | {tensor.name for tensor in body.initializer}
    own |= {name for node in body.node for name in node.output}
    reads: Iterable[str] = (name for node in body.node for name in names_read(node))
    yield from (name for name in reads if name not in own)
    yield from (info.name for info in body.output if info.name not in own)
