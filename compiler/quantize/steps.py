"""The size of one quantisation step of a model's outputs."""

from __future__ import annotations

from onnx import numpy_helper

from edgeweave.compiler.graph import GraphView
from edgeweave.compiler.quantize.ranges import Ranges
from edgeweave.compiler.quantize.select import MOVES


def output_steps(view: GraphView, ranges: Ranges) -> dict[str, float]:
    """By float output the scale of the DequantizeLinear it comes from, or a 255th of its range.

    An output with neither is left out.
    """
    steps = {}
    for info in view.proto.graph.output:
        if view.spec(info.name).dtype not in ("float32", "float16"):
            continue
        step = _scale(view, info.name)
        if step is None and info.name in ranges:
            low, high = ranges[info.name]
            step = (max(high, 0.0) - min(low, 0.0)) / 255
        if step is not None:
            steps[info.name] = step
    return steps


def _scale(view: GraphView, name: str) -> float | None:
    while (position := view.producer.get(name)) is not None:
        node = view.nodes[position]
        if node.op_type == "DequantizeLinear" and node.input[1] in view.initializers:
            scale = numpy_helper.to_array(view.initializers[node.input[1]])
            return float(scale.max())
        if node.op_type not in MOVES:
            return None
        name = node.input[0]
    return None
