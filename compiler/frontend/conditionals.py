"""Inlining of ``If`` nodes whose condition is constant."""

from __future__ import annotations

import onnx_ir as ir

from edgeweave.compiler.frontend.weights import attribute, constant, is_op, name_of


def inline_conditionals(model: ir.Model) -> int:
    """Replace every ``If`` of constant condition by the branch it takes; how many there were."""
    count = 0
    while True:
        found = [
            node
            for node in model.graph
            if is_op(node, "If") and constant(node.inputs[0]) is not None
        ]
        for node in found:
            _inline(model.graph, node)
        if not found:
            return count
        count += len(found)


def _inline(graph: ir.Graph, node: ir.Node) -> None:
    condition = constant(node.inputs[0])
    taken = "then_branch" if condition is not None and condition.all() else "else_branch"
    branch: ir.Graph = attribute(node, taken)
    results = list(branch.outputs)
    # Names of a branch may also stand in the other branch or in another If.
    prefix = f"{node.name or node.outputs[0].name}/"
    for value in list(branch.initializers.values()):
        del branch.initializers[name_of(value)]
        value.name = _free(graph, f"{prefix}{value.name}")
        graph.register_initializer(value)
    inner = list(branch)
    for child in inner:
        for value in child.outputs:
            if value.name:
                value.name = f"{prefix}{value.name}"
    branch.outputs.clear()
    branch.remove(inner)
    graph.insert_before(node, inner)
    for output, result in zip(node.outputs, results, strict=True):
        _forward(graph, node, output, result)
    graph.remove(node, safe=True)


def _forward(graph: ir.Graph, node: ir.Node, output: ir.Value, result: ir.Value) -> None:
    """Let ``result`` of the branch stand for ``output`` of the If, whose name stays."""
    stand_in = ir.Node("", "Identity", [result], num_outputs=1)
    replacement = stand_in.outputs[0]
    replacement.name, output.name = output.name, None
    replacement.type, replacement.shape = output.type, output.shape
    graph.insert_before(node, stand_in)
    output.replace_all_uses_with(replacement, replace_graph_outputs=True)


def _free(graph: ir.Graph, name: str) -> str:
    while name in graph.initializers:
        name += "_"
    return name
