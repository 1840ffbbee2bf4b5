"""Removal of nodes that compute again what another node computes."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeweave.compiler.frontend.constants import RANDOM


def remove_duplicates(model: ir.Model) -> int:
    """Let equal nodes with equal inputs be one node; how many went."""
    if any(node.op_type in RANDOM | {"Dropout"} for node in model.graph.all_nodes()):
        return 0
    before = len(model.graph)
    passes.CommonSubexpressionEliminationPass()(model)
    return before - len(model.graph)
