"""Cut a model into regions: an anchor operator with the elementwise tail that fuses with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from edgeweave.compiler.graph import GraphView, subgraphs, view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.region_model import RegionModel, build_region_model
from edgeweave.compiler.types import element_name
from edgeweave.compiler.work import flops
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.region import Operator, Region, RegionGraph

# Operators that run element by element over the result of what stands before them, and views.
_TAIL = frozenset(
    "Relu LeakyRelu PRelu Clip Sigmoid Tanh HardSwish HardSigmoid Elu Selu Celu Softplus "
    "Softsign Erf Gelu Mish ThresholdedRelu Add Sub Mul Div Min Max Pow Neg Abs Sqrt Exp Log "
    "Reciprocal Floor Ceil Round Cast BatchNormalization Identity QuantizeLinear".split()
)
_VIEWS = frozenset("Reshape Flatten Squeeze Unsqueeze".split())


@dataclass(frozen=True)
class Regions:
    """The region graph, and per region its nodes in the model and its model of its own."""

    graph: RegionGraph
    nodes: tuple[tuple[int, ...], ...]
    models: tuple[RegionModel, ...]
    view: GraphView


def find_regions(model: Model) -> Regions:
    """Group the nodes of a canonical model into regions, in topological order.

    A node joins the region of its latest-produced input when it is elementwise, keeps the shape,
    and is the only reader; so a region is a chain with side inputs and always convex. Values whose
    type cannot cross a stage border (optional or unknown) stay inside one region.
    """
    view = view_graph(model.proto)
    groups = _close_over_untyped(view, _group(view))
    models = tuple(
        build_region_model(view, nodes, _inputs(view, nodes), _outputs(view, nodes))
        for nodes in groups
    )
    regions = tuple(
        _describe(view, index, nodes, region_model)
        for index, (nodes, region_model) in enumerate(zip(groups, models, strict=True))
    )
    graph = RegionGraph(regions, model.inputs, model.outputs)
    return Regions(graph, tuple(map(tuple, groups)), models, view)


def _group(view: GraphView) -> list[list[int]]:
    groups: list[list[int]] = []
    home: dict[int, int] = {}  # node -> group
    pending: dict[str, int] = {}  # output of a dequantize that waits for its only reader
    for position, node in enumerate(view.nodes):
        if _is_prologue(view, node):
            pending[node.output[0]] = position
            continue
        prologue = [pending.pop(name) for name in view.reads[position] if name in pending]
        reads = [name for p in (*prologue, position) for name in view.reads[p]]
        producers = {home[view.producer[n]] for n in reads if view.producer.get(n) in home}
        latest = max(producers, default=None)
        if latest is None or not _joins(view, position, groups[latest]):
            latest = len(groups)
            groups.append([])
        groups[latest] += [*prologue, position]
        home |= dict.fromkeys((*prologue, position), latest)
    return [sorted(group) for group in groups]


def _is_prologue(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a DequantizeLinear belongs to the region of its one reader."""
    if node.op_type != "DequantizeLinear" or node.output[0] in view.outputs:
        return False
    readers = view.consumers.get(node.output[0], ())
    return len(readers) == 1 and view.nodes[readers[0]].op_type != "DequantizeLinear"


def _joins(view: GraphView, position: int, group: Sequence[int]) -> bool:
    node, last = view.nodes[position], view.nodes[group[-1]]
    if node.domain or last.domain or any(True for _ in subgraphs(node)):
        return False
    if node.op_type not in _TAIL and node.op_type not in _VIEWS:
        return False
    if len([name for name in last.output if name]) != 1 or len(node.output) != 1:
        return False
    result = last.output[0]
    if result in view.outputs or view.consumers.get(result) != (position,):
        return False
    if node.op_type in _VIEWS:
        return view.shape(node.output[0]) is not None and node.input[0] == result
    shape = view.shape(result)
    return shape is not None and shape == view.shape(node.output[0])


def _close_over_untyped(view: GraphView, groups: list[list[int]]) -> list[list[int]]:
    """Merge runs of groups so that every value between groups is a tensor or a sequence.

    A run that is contiguous in a topological order is convex, so the result stays acyclic.
    """
    home = {node: index for index, group in enumerate(groups) for node in group}
    joined = list(range(len(groups)))  # group -> last group of the run it must be merged into
    for name, readers in view.consumers.items():
        if name not in view.producer or _can_cross(view.spec(name)):
            continue
        first = home[view.producer[name]]
        joined[first] = max(joined[first], *(home[reader] for reader in readers))
    merged: list[list[int]] = []
    end = -1
    for index, group in enumerate(groups):
        if index <= end:
            merged[-1] += group
        else:
            merged.append(list(group))
        end = max(end, joined[index])
    return [sorted(group) for group in merged]


def _can_cross(spec: ValueSpec) -> bool:
    return spec.type.startswith(("tensor(", "seq("))


def _inputs(view: GraphView, nodes: Sequence[int]) -> list[str]:
    own = {name for p in nodes for name in view.nodes[p].output}
    reads = (name for p in nodes for name in view.reads[p])
    return [n for n in dict.fromkeys(reads) if n not in own and n not in view.initializers]


def _outputs(view: GraphView, nodes: Sequence[int]) -> list[str]:
    own = set(nodes)
    produced = (name for p in nodes for name in view.nodes[p].output if name)
    return [
        name
        for name in produced
        if name in view.outputs or any(r not in own for r in view.consumers.get(name, ()))
    ]


def _describe(
    view: GraphView, index: int, nodes: Sequence[int], region_model: RegionModel
) -> Region:
    inputs = tuple(view.spec(name) for name in region_model.inputs)
    outputs = tuple(view.spec(name) for name in region_model.outputs)
    unpacked = {p: view.nodes[p].input[0] for p in nodes if _is_quantised_weight(view, p)}
    stored = dict.fromkeys((*region_model.weights, *unpacked.values()))
    weight_bytes = sum(_tensor_bytes(view, name) for name in stored)
    return Region(
        index=index,
        operators=tuple(
            Operator(n.op_type, n.domain, n.name) for n in (view.nodes[p] for p in nodes)
        ),
        inputs=inputs,
        outputs=outputs,
        flops=sum(flops(view, view.nodes[p]) for p in nodes if p not in unpacked),
        bytes_moved=weight_bytes + sum(spec.nbytes or 0 for spec in (*inputs, *outputs)),
        weight_bytes=weight_bytes,
        precision=_precision(view, nodes, outputs),
        digest=region_model.digest,
        has_subgraph=any(True for p in nodes for _ in subgraphs(view.nodes[p])),
    )


def _tensor_bytes(view: GraphView, name: str) -> int:
    tensor = view.initializers[name]
    kind = f"tensor({element_name(tensor.data_type)})"
    return ValueSpec(name, kind, tuple(tensor.dims)).nbytes or 0


def _is_quantised_weight(view: GraphView, position: int) -> bool:
    """Whether a node does no more than say what integers that are stored stand for."""
    node = view.nodes[position]
    return node.op_type == "DequantizeLinear" and node.input[0] in view.initializers


def _precision(view: GraphView, nodes: Sequence[int], outputs: Sequence[ValueSpec]) -> str:
    """int8 for a block that is quantised all round, else the dtype of the anchor's result."""
    kinds = {view.nodes[p].op_type for p in nodes}
    whole = {"QuantizeLinear", "DequantizeLinear"} <= kinds and not any(
        _reads_float_weights(view, view.nodes[p]) for p in nodes
    )
    if whole or kinds & _INTEGER_ANCHORS:
        return "int8"
    anchor = view.spec(view.nodes[nodes[0]].output[0])
    return anchor.dtype or next((s.dtype for s in outputs if s.dtype), None) or "float32"


def _reads_float_weights(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a layer between the Q and DQ was left in floating point."""
    return node.op_type in _WEIGHTED and any(
        name in view.initializers and view.initializers[name].data_type in _FLOATS
        for name in node.input[:2]
    )


_INTEGER_ANCHORS = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
