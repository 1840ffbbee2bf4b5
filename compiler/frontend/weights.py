"""Constant values of an onnx_ir graph: reading them, and adding new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

_ONNX = ("", "ai.onnx")


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initializer that no caller can override, or None for any other value."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def add_weight(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new initializer of ``graph`` whose name starts with ``name``."""
    taken, number = name, 1
    while taken in graph.initializers:
        number += 1
        taken = f"{name}_{number}"
    tensor = ir.tensor(np.array(array, order="C"), name=taken)
    value = ir.Value(
        name=taken,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def name_of(value: ir.Value) -> str:
    """The name of a value, which every value of a model has that was read and named."""
    if not value.name:
        raise ValueError(f"{value!r} has no name")
    return value.name


def is_op(node: ir.Node | None, *types: str) -> bool:
    """Whether ``node`` is one of these operators of ONNX's own domain."""
    return node is not None and node.domain in _ONNX and node.op_type in types


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The value of an attribute, or ``default`` where the node does not set it."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads ``value`` once, or None: also when the graph returns it."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def opset(model: ir.Model) -> int:
    """The version of ONNX's own operator set, 0 when the model imports none."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
