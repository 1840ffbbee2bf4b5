"""Lower a quantised region to a kernel of integers."""

from __future__ import annotations

import numpy as np
import onnx
import tvm
from tvm import IRModule, relax
from tvm.target import Target

from edgeweave.compiler.integer.call import Call
from edgeweave.compiler.integer.convolution import convolution, transposed_convolution
from edgeweave.compiler.integer.layer import find_layer
from edgeweave.compiler.integer.lookup import padded, pooled, softmaxed, transposed
from edgeweave.compiler.integer.product import product
from edgeweave.compiler.integer.reading import Quantised
from edgeweave.compiler.integer.unary import find_unary
from edgeweave.compiler.types import value_spec
from edgeweave.schedules.apply import SCHEDULED

_OF_SUMS = {
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "Gemm": product,
    "MatMul": product,
}
_OF_BYTES = {"MaxPool": pooled, "Pad": padded, "Softmax": softmaxed, "Transpose": transposed}


def lower_integer(model: onnx.ModelProto, target: Target) -> IRModule | None:
    """The module of a region's model, ``main`` as the importer makes it, its kernel scheduled.

    None for a region that is left to the importer, which computes in float32.
    """
    layer = find_layer(model)
    if layer is not None:
        call = _OF_SUMS[layer.operator](layer, target)
        return None if call is None else _module(model, layer.result, call)
    unary = find_unary(model)
    if unary is not None:
        call = _OF_BYTES[unary.operator](unary)
        return None if call is None else _module(model, unary.result, call)
    return None


def _module(model: onnx.ModelProto, returned: Quantised, call: Call) -> IRModule:
    builder = relax.BlockBuilder()
    kernel = builder.add_func(call.function.with_attr(SCHEDULED, True), "int8")
    variables = {
        spec.name: relax.Var(spec.name, relax.TensorType(list(spec.shape or ()), spec.dtype))
        for spec in map(value_spec, model.graph.input)
    }
    arguments = [
        relax.const(tvm.runtime.tensor(a)) if isinstance(a, np.ndarray) else variables[a]
        for a in call.arguments
    ]
    result = relax.TensorType(list(returned.shape), returned.dtype)
    with builder.function("main", list(variables.values())):
        with builder.dataflow():
            output = builder.emit_output(relax.call_tir(kernel, arguments, result))
        builder.emit_func_output(output)
    return builder.get()
