"""Softmax that guards itself against large numbers, which Softmax does anyway."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeweave.compiler.frontend.weights import (
    add_weight,
    attribute,
    constant,
    is_op,
    name_of,
    sole_consumer,
)


def remove_shifts(model: ir.Model) -> int:
    """Drop the greatest number that a Softmax's operand is taken from, or that is taken from it.

    Softmax(x - max(x)) is Softmax(x), and Softmax(max(x) - x) is Softmax(-x). The maximum and the
    difference would have scales of their own. How many were dropped.
    """
    count = 0
    for node in list(model.graph):
        if not is_op(node, "Softmax") or node.inputs[0] is None:
            continue
        difference = node.inputs[0].producer()
        if not is_op(difference, "Sub") or sole_consumer(node.inputs[0]) is not node:
            continue
        assert difference is not None
        first, second = difference.inputs
        if _is_maximum(second, first, node):
            node.replace_input_with(0, first)
        elif _is_maximum(first, second, node):
            node.replace_input_with(0, _negated(model.graph, difference, second))
        else:
            continue
        count += 1
    return count


def _is_maximum(value: ir.Value | None, of: ir.Value | None, softmax: ir.Node) -> bool:
    """Whether ``value`` is the maximum of ``of`` along the axis of ``softmax``."""
    node = value.producer() if value is not None else None
    if is_op(node, "Expand"):
        assert node is not None
        value = node.inputs[0]
        node = value.producer() if value is not None else None
    if node is None or of is None or of.shape is None or not is_op(node, "ReduceMax"):
        return False
    axes = _axes(node)
    rank = len(of.shape)
    return (
        node.inputs[0] is of
        and attribute(node, "keepdims", 1) == 1
        and axes is not None
        and [axis % rank for axis in axes] == [attribute(softmax, "axis", -1) % rank]
    )


def _axes(node: ir.Node) -> list[int] | None:
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        given = constant(node.inputs[1])
        return None if given is None else [int(axis) for axis in given.reshape(-1)]
    axes = attribute(node, "axes")
    return None if axes is None else [int(axis) for axis in axes]


def _negated(graph: ir.Graph, before: ir.Node, value: ir.Value | None) -> ir.Value:
    """``value`` times -1, which is exact in int8."""
    old = before.outputs[0]
    minus = add_weight(graph, f"{name_of(old)}/minus_one", np.array(-1.0, np.float32))
    node = ir.Node("", "Mul", [value, minus], num_outputs=1)
    node.outputs[0].name = f"{name_of(old)}/negated"
    node.outputs[0].type, node.outputs[0].shape = old.type, old.shape
    graph.insert_before(before, node)
    return node.outputs[0]
