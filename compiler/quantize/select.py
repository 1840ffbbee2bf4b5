"""Which nodes of a float model compute in int8."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from edgeweave.compiler.graph import GraphView

LAYERS = frozenset("Conv ConvTranspose Gemm MatMul".split())
# of which the bounds become those of the int8 range
CLAMPS = frozenset("Relu Clip".split())
ACTIVATIONS = CLAMPS | frozenset(
    "LeakyRelu PRelu Sigmoid Tanh HardSwish HardSigmoid Softmax".split()
)
_ARITHMETIC = frozenset("Add Sub Mul".split())
_POOLS = frozenset(
    "MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean ReduceMax".split()
)
# These pass numbers on as they are: what comes out has the scale of what went in.
MOVES = frozenset(
    "Reshape Transpose Squeeze Unsqueeze Flatten Slice Split Pad Resize Expand Tile Gather "
    "DepthToSpace SpaceToDepth MaxPool AveragePool GlobalMaxPool ReduceMax".split()
)
_PASSED_ON = (MOVES - _POOLS) | {"Concat"}
KINDS = LAYERS | ACTIVATIONS | _ARITHMETIC | _POOLS | MOVES | {"Concat"}


def select_nodes(view: GraphView, keep_float: Collection[str] = ()) -> frozenset[int]:
    """The positions of the nodes to quantise; ``keep_float`` are names of nodes to leave.

    All layers with constant weights are, and what stands next to them and can compute in int8. The
    arithmetic after the last layer is not when it goes with operators that cannot, such as the
    decoding of boxes: a few small numbers, of which each bit counts.
    """
    left = {p for p, node in enumerate(view.nodes) if node.name in keep_float}
    left |= _postprocessing(view)
    able = {p for p, node in enumerate(view.nodes) if p not in left and _can(view, node)}
    chosen = {p for p in able if view.nodes[p].op_type in LAYERS}
    touched = {name for p in chosen for name in values(view, p)}
    waiting = sorted(able - chosen)
    while joining := [p for p in waiting if _joins(view, p, touched)]:
        chosen.update(joining)
        touched.update(name for p in joining for name in values(view, p))
        waiting = [p for p in waiting if p not in chosen]
    return frozenset(chosen)


def values(view: GraphView, position: int) -> Iterator[str]:
    """The computed float32 values that a node reads and writes, and float inputs of the model."""
    node = view.nodes[position]
    for name in (*node.input, *node.output):
        if name and name not in view.initializers and view.spec(name).dtype == "float32":
            yield name


def _joins(view: GraphView, position: int, touched: Collection[str]) -> bool:
    """Whether a node has int8 values next to it already."""
    node = view.nodes[position]
    if node.op_type == "Concat":
        return node.output[0] in touched or all(
            name in touched for name in values(view, position) if name != node.output[0]
        )
    return any(name in touched for name in values(view, position))


def _can(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether ONNX Runtime quantises the node well: a known operator, float32, constant weights."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in KINDS:
        return False
    if view.spec(node.output[0]).dtype != "float32":
        return False
    constant = [name in view.initializers for name in node.input]
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        biases = [view.shape(name) or () for name in node.input[2:]]
        return all(constant[1:]) and not constant[0] and all(len(b) == 1 for b in biases)
    if node.op_type == "Gather":
        return not constant[0] and constant[1]
    if node.op_type in CLAMPS:
        # the value before takes the range of the one after, which an output must not
        return not constant[0] and node.input[0] not in view.outputs and _holds_zero(view, node)
    return not all(constant)


def _holds_zero(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether zero, which int8 always has, lies within the constant bounds of a clamp."""
    bounds = [-np.inf, np.inf]
    for place, name in enumerate(node.input[1:3]):
        if name and name not in view.initializers:
            return False
        if name:
            bounds[place] = float(numpy_helper.to_array(view.initializers[name]))
    return bounds[0] <= 0 <= bounds[1]


def _postprocessing(view: GraphView) -> set[int]:
    """The arithmetic after the last layer that goes with operators without int8, and its results.

    Operators go with each other when values pass between them, directly or only moved.
    """
    tail = _tail(view)
    mixed = [p for p in tail if view.nodes[p].op_type in _ARITHMETIC or _is_foreign(view, p)]
    passing = {*mixed, *(p for p in tail if view.nodes[p].op_type in _PASSED_ON)}
    seen = {p for p in mixed if _is_foreign(view, p)}
    waiting = list(seen)
    while waiting:
        near = {n for n in _neighbours(view, waiting.pop()) if n in passing and n not in seen}
        seen |= near
        waiting.extend(near)
    found = seen & set(mixed)
    for position in sorted(tail):
        producers = (view.producer.get(name) for name in view.reads[position])
        if any(producer in found for producer in producers):
            found.add(position)
    return found


def _tail(view: GraphView) -> set[int]:
    """The nodes that no layer comes after."""
    before: set[int] = set()
    for position in reversed(range(len(view.nodes))):
        readers = (r for name in view.nodes[position].output for r in view.consumers.get(name, ()))
        if view.nodes[position].op_type in LAYERS or any(r in before for r in readers):
            before.add(position)
    return set(range(len(view.nodes))) - before


def _is_foreign(view: GraphView, position: int) -> bool:
    """Whether int8 has no place for the operator, though it computes with real numbers."""
    node = view.nodes[position]
    is_float = any(view.spec(name).dtype == "float32" for name in node.output if name)
    return is_float and (bool(node.domain) or node.op_type not in KINDS)


def _neighbours(view: GraphView, position: int) -> Iterator[int]:
    for name in view.reads[position]:
        if name in view.producer:
            yield view.producer[name]
    for name in view.nodes[position].output:
        yield from view.consumers.get(name, ())
