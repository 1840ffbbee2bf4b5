"""Removal of channels that are exactly zero, and of channels that nobody reads."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgeweave.compiler.frontend.channels import PerChannel, Reader, slice_constant, treatment
from edgeweave.compiler.frontend.weights import attribute, constant, is_op


@dataclass
class _Reach:
    """Where the channels of a layer go: the nodes on the way and the layers that sum over them."""

    removable: np.ndarray
    through: list[tuple[ir.Node, PerChannel]] = field(default_factory=list)
    readers: list[tuple[ir.Node, Reader]] = field(default_factory=list)


def remove_zero_channels(model: ir.Model) -> int:
    """Remove output channels of convolutions that are zero or unread; how many channels.

    A channel goes when every way from it leads, through operators that keep channels apart, to
    convolutions that either get zeros from it or have no weight for it. At least one channel stays.
    """
    total = 0
    while True:
        # Backwards: a channel nobody reads makes channels of the layer before unread.
        removed = sum(_shrink(model.graph, node) for node in reversed(list(model.graph)))
        total += removed
        if not removed:
            return total


def _shrink(graph: ir.Graph, layer: ir.Node) -> int:
    zero = _zero_outputs(layer)
    if zero is None:
        return 0
    reach = _Reach(np.ones(zero.size, bool))
    if not _follow(graph, layer.outputs[0], zero, reach) or not reach.readers:
        return 0
    kept = ~reach.removable
    if not kept.any():
        kept[0] = True
    if kept.all():
        return 0
    _remove(graph, layer, reach, kept)
    return int(np.count_nonzero(~kept))


def _zero_outputs(layer: ir.Node) -> np.ndarray | None:
    """Which output channels of a convolution are always zero; None if it cannot be shrunk."""
    if not is_op(layer, "Conv", "ConvTranspose") or attribute(layer, "group", 1) != 1:
        return None
    weight = constant(layer.inputs[1])
    if weight is None or weight.ndim < 3:
        return None
    axis = _output_axis(layer)
    zero = (np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1) == 0).all(1)
    if len(layer.inputs) > 2 and layer.inputs[2] is not None:
        bias = constant(layer.inputs[2])
        if bias is None:
            return None
        zero &= bias == 0
    return np.asarray(zero)


def _output_axis(layer: ir.Node) -> int:
    return 0 if layer.op_type == "Conv" else 1


def _follow(graph: ir.Graph, value: ir.Value, zero: np.ndarray, reach: _Reach) -> bool:
    """Collect every way from ``value``, whose ``zero`` channels are zero; False if one is lost."""
    if value.is_graph_output():
        return False
    for use in value.uses():
        if use.node.graph is not graph:
            return False
        found = treatment(use.node, use.idx, zero.size)
        if isinstance(found, Reader):
            reach.readers.append((use.node, found))
            reach.removable &= (zero & found.finite) | ~found.reads
        elif isinstance(found, PerChannel):
            reach.through.append((use.node, found))
            if not _follow(graph, use.node.outputs[0], zero & found.keeps_zero, reach):
                return False
        else:
            return False
    return True


def _remove(graph: ir.Graph, layer: ir.Node, reach: _Reach, kept: np.ndarray) -> None:
    slice_constant(graph, layer, 1, _output_axis(layer), kept)
    if len(layer.inputs) > 2 and layer.inputs[2] is not None:
        slice_constant(graph, layer, 2, 0, kept)
    layer.outputs[0].shape = None
    for node, found in reach.through:
        for position, axis in found.sliced:
            slice_constant(graph, node, position, axis, kept)
        if found.grouped:
            node.attributes["group"] = ir.AttrInt64("group", int(np.count_nonzero(kept)))
        node.outputs[0].shape = None
    for node, reader in reach.readers:
        slice_constant(graph, node, 1, reader.axis, kept)
