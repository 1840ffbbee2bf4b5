"""``Sum`` of many values as a chain of ``Add``."""

from __future__ import annotations

import onnx_ir as ir

from edgeweave.compiler.frontend.weights import is_op


def split_sums(model: ir.Model) -> int:
    """Replace every ``Sum`` by ``Add`` nodes, which fuse with their neighbours; how many."""
    count = 0
    for node in list(model.graph.all_nodes()):
        if not is_op(node, "Sum") or None in node.inputs or not isinstance(node.graph, ir.Graph):
            continue
        _split(node.graph, node)
        count += 1
    return count


def _split(graph: ir.Graph, node: ir.Node) -> None:
    result = node.outputs[0]
    total, *others = node.inputs
    chain = []
    for other in others:
        add = ir.Node("", "Add", [total, other], num_outputs=1)
        add.outputs[0].type = result.type
        chain.append(add)
        total = add.outputs[0]
    if not chain:
        chain.append(ir.Node("", "Identity", [total], num_outputs=1))
    last = chain[-1].outputs[0]
    for position, add in enumerate(chain[:-1], 1):
        add.outputs[0].name = f"{result.name}/partial_{position}"
    last.name, result.name = result.name, None
    last.type, last.shape = result.type, result.shape
    graph.insert_before(node, chain)
    result.replace_all_uses_with(last, replace_graph_outputs=True)
    graph.remove(node, safe=True)
