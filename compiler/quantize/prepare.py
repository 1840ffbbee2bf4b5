"""The float model in the form that quantises best: the same function, other operators."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeweave.compiler.frontend.dead_code import remove_dead_code
from edgeweave.compiler.frontend.infer import infer_types
from edgeweave.compiler.frontend.weights import name_of
from edgeweave.compiler.quantize.batch_norm import write_as_convolutions
from edgeweave.compiler.quantize.gemm import write_plainly
from edgeweave.compiler.quantize.softmax import remove_shifts

_REWRITES: tuple[Callable[[ir.Model], int], ...] = (
    write_as_convolutions,
    remove_shifts,
    write_plainly,
)


def prepare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model that computes the same, with named nodes, typed values and no unused weight."""
    model = ir.from_proto(proto)
    for rewrite in _REWRITES:
        rewrite(model)
    remove_dead_code(model)
    for value in list(model.graph.initializers.values()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name_of(value)]
    passes.NameFixPass()(model)
    infer_types(model)
    prepared = ir.to_proto(model)
    weights = {tensor.name for tensor in prepared.graph.initializer}
    known = [info for info in prepared.graph.value_info if info.name not in weights]
    del prepared.graph.value_info[:]
    prepared.graph.value_info.extend(known)
    return prepared
