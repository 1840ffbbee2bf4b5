"""Which values of a quantised model have one scale."""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import numpy_helper

from edgeweave.compiler.graph import GraphView
from edgeweave.compiler.quantize.ranges import Ranges
from edgeweave.compiler.quantize.select import CLAMPS, MOVES

# What int8 kernels give these operators, whatever the calibration says: steps of 1/256 and 1/128.
_FIXED = {
    "Softmax": (0.0, 255 / 256),
    "Sigmoid": (0.0, 255 / 256),
    "HardSigmoid": (0.0, 255 / 256),
    "Tanh": (-1.0, 127 / 128),
}


def shared_ranges(view: GraphView, nodes: Collection[int], ranges: Ranges) -> Ranges:
    """The ranges, the same for all values that should have one scale.

    What only moves numbers keeps their scale, and what is only read by a Concat has the scale of
    its result: nothing is rounded twice, and nothing has to be rescaled.
    """
    fixed = {
        view.nodes[p].output[0]: _FIXED[view.nodes[p].op_type]
        for p in nodes
        if view.nodes[p].op_type in _FIXED
    }
    groups = _Groups(ranges, fixed)
    for position in sorted(nodes):
        node = view.nodes[position]
        if node.op_type in MOVES and keeps_scale(view, node):
            for name in node.output:
                if name in ranges:
                    groups.join(node.input[0], name)
    for position in sorted(nodes, reverse=True):
        node = view.nodes[position]
        if node.op_type == "Concat":
            hull = groups.hull(node.output[0])
            for name in node.input:
                if _may_share(view, nodes, name, hull):
                    groups.join(name, node.output[0])
    return {name: groups.hull(name) for name in ranges}


class _Groups:
    """Values that share a range; the one of a value that is ``fixed`` if there is such a value."""

    def __init__(self, ranges: Ranges, fixed: Ranges) -> None:
        self._ranges, self._fixed = ranges, fixed
        self._members = {name: [name] for name in ranges}

    def join(self, first: str, second: str) -> None:
        a, b = self._members[first], self._members[second]
        if a is not b:
            a += b
            self._members |= dict.fromkeys(b, a)

    def hull(self, name: str) -> tuple[float, float]:
        """The least range that holds those of all in the group of ``name``."""
        members = self._members[name]
        fixed = [self._fixed[member] for member in members if member in self._fixed]
        found = fixed or [self._ranges[member] for member in members]
        return min(low for low, _ in found), max(high for _, high in found)


def keeps_scale(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a node that moves numbers adds none that lie outside of their range, or zero."""
    if node.op_type == "Resize":
        return not any(a.name == "mode" and a.s == b"cubic" for a in node.attribute)
    if node.op_type != "Pad" or len(node.input) < 3 or not node.input[2]:
        return True
    tensor = view.initializers.get(node.input[2])
    return tensor is not None and not numpy_helper.to_array(tensor).any()


def _may_share(
    view: GraphView, nodes: Collection[int], name: str, hull: tuple[float, float]
) -> bool:
    """Whether a value may take the wider range of the one Concat that reads it.

    Not the result of a clamp when its bounds lie within that range, for those bounds become the
    ends of the int8 range; nor one whose scale is fixed.
    """
    while True:
        producer = view.producer.get(name)
        if producer is None or producer not in nodes or name in view.outputs:
            return False
        if len(view.consumers.get(name, ())) != 1:
            return False
        node = view.nodes[producer]
        if node.op_type not in MOVES:
            break
        name = node.input[0]
    if node.op_type == "Relu":
        return hull[0] >= 0
    return node.op_type not in CLAMPS and node.op_type not in _FIXED
