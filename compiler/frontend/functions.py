"""Inlining of model-local functions."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as passes


def inline_functions(model: ir.Model) -> int:
    """Replace every call of a model-local function by its body; how many calls."""
    if not model.functions:
        return 0
    calls = sum(node.op_identifier() in model.functions for node in model.graph.all_nodes())
    passes.InlinePass()(model)
    passes.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    return calls
