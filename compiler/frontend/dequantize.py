"""A DequantizeLinear for every reader, so that small integers pass between layers."""

from __future__ import annotations

import onnx_ir as ir

from edgeweave.compiler.frontend.weights import is_op


def dequantize_per_reader(model: ir.Model) -> int:
    """Give every reader of a dequantised value a DequantizeLinear of its own; how many were added.

    A dequantised value that several layers read would pass between them as floats: four times the
    bytes, and nothing that an integer engine takes.
    """
    added = 0
    for node in list(model.graph):
        if not is_op(node, "DequantizeLinear"):
            continue
        value = node.outputs[0]
        uses = list(value.uses())
        # the graph's own output keeps the first
        for use in uses[0 if value.is_graph_output() else 1 :]:
            use.node.replace_input_with(use.idx, _copy(model.graph, node))
            added += 1
    return added


def _copy(graph: ir.Graph, node: ir.Node) -> ir.Value:
    copy = ir.Node(
        node.domain, node.op_type, node.inputs, list(node.attributes.values()), num_outputs=1
    )
    result, source = copy.outputs[0], node.outputs[0]
    result.type, result.shape = source.type, source.shape
    graph.insert_before(node, copy)
    return result
