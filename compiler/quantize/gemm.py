"""Gemm as int8 has it: a bias of one number per column, and no factors."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeweave.compiler.frontend.weights import add_weight, attribute, constant, is_op, name_of


def write_plainly(model: ir.Model) -> int:
    """Take alpha and beta into constant weights and biases, and make biases vectors; how many.

    A bias that is not the same for all rows stays as it is.
    """
    count = 0
    for node in list(model.graph):
        if is_op(node, "Gemm") and all(constant(value) is not None for value in node.inputs[1:]):
            count += _write(model.graph, node)
    return count


def _write(graph: ir.Graph, node: ir.Node) -> bool:
    weight, *biases = (np.asarray(constant(value)) for value in node.inputs[1:])
    columns = weight.shape[0 if attribute(node, "transB", 0) else 1]
    name = name_of(node.outputs[0])
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    changed = False
    if alpha != 1:
        _set(graph, node, 1, f"{name}/weight", weight * weight.dtype.type(alpha))
        changed = True
    for bias in biases:
        is_vector = bias.shape[:-1] in ((), (1,))
        if beta != 1 or (is_vector and bias.shape != (columns,)):
            scaled = bias * bias.dtype.type(beta)
            vector = np.broadcast_to(scaled.reshape(-1), (columns,)) if is_vector else scaled
            _set(graph, node, 2, f"{name}/bias", vector)
            changed = True
    for factor in ("alpha", "beta"):
        node.attributes.pop(factor, None)
    return changed


def _set(graph: ir.Graph, node: ir.Node, place: int, name: str, array: np.ndarray) -> None:
    node.replace_input_with(place, add_weight(graph, name, array))
