"""The order of nodes that ONNX asks for."""

from __future__ import annotations

import onnx
import onnx_ir as ir


def in_order(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every node after those it reads; tools append theirs at the end."""
    model = ir.from_proto(proto)
    model.graph.sort()
    return ir.to_proto(model)
