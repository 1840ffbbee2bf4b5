"""Upgrade to the operator set that the code generators understand."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from edgeweave.compiler.frontend.infer import without_large_weights
from edgeweave.compiler.frontend.refusal import one_line
from edgeweave.compiler.frontend.weights import name_of, opset

# TVM's importer reads Slice, Reshape, Pad, Clip and others only in the form of operator set 13.
OLDEST_UNDERSTOOD = 13


class UpgradeError(Exception):
    """ONNX's version converter cannot upgrade this model."""


def upgrade_opset(model: ir.Model) -> int:
    """Upgrade ``model`` to operator set 13 in place if it is older; the versions gained.

    Raises ``UpgradeError`` with the converter's reason; the model is then as it was.
    """
    given = opset(model)
    if not 0 < given < OLDEST_UNDERSTOOD:
        return 0
    ir_version = model.ir_version
    model.ir_version = max(ir_version, 8)
    try:
        with without_large_weights(model) as light:
            converted = onnx.version_converter.convert_version(light, OLDEST_UNDERSTOOD)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        model.ir_version = ir_version
        raise UpgradeError(one_line(error)) from error
    _replace_graph(model, ir.from_proto(converted).graph)
    return OLDEST_UNDERSTOOD - given


def _replace_graph(model: ir.Model, graph: ir.Graph) -> None:
    """Make ``graph`` the model's, its weights without data taken from the model's old graph."""
    old = model.graph
    own = len(old.inputs)
    large = list(graph.inputs[own:])
    del graph.inputs[own:]
    for value in large:
        value.const_value = old.initializers[name_of(value)].const_value
        graph.register_initializer(value)
    model.graph = graph
