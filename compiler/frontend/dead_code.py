"""Removal of nodes that compute nothing or that nobody reads."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeweave.compiler.frontend.weights import constant, is_op, opset


def remove_dead_code(model: ir.Model) -> int:
    """Remove unused nodes, ``Identity``, and ``Dropout`` as it stands in inference; how many."""
    before = sum(1 for _ in model.graph.all_nodes())
    for node in list(model.graph.all_nodes()):
        if is_op(node, "Identity") or _is_idle_dropout(model, node):
            _bypass(node)
    passes.RemoveUnusedNodesPass()(model)
    return before - sum(1 for _ in model.graph.all_nodes())


def _is_idle_dropout(model: ir.Model, node: ir.Node) -> bool:
    """Whether this is a Dropout that passes its input on and whose mask nobody reads."""
    if not is_op(node, "Dropout"):
        return False
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return False
    if opset(model) < 12 or len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    training = constant(node.inputs[2])
    return training is not None and not training.any()


def _bypass(node: ir.Node) -> None:
    """Let the readers of the node's first output read its input, and remove the node."""
    source, result = node.inputs[0], node.outputs[0]
    graph = node.graph
    if source is None or not isinstance(graph, ir.Graph):
        return
    if result.is_graph_output():
        producer = source.producer()
        # A model's output keeps its name, so only a value that has no such role can take it over.
        if producer is None or producer.graph is not graph or source.is_graph_output():
            return
        name, result.name = result.name, None
        source.name = name
        if source.type is None:
            source.type, source.shape = result.type, result.shape
    result.replace_all_uses_with(source, replace_graph_outputs=True)
    graph.remove(node, safe=True)
