"""Types and shapes of every value, by ONNX's own inference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx.shape_inference
import onnx_ir as ir

from edgeweave.compiler.frontend.weights import name_of, opset

# Weights up to this size may hold shapes and axes, which inference reads; larger ones only slow
# down the copies it makes of the model.
SMALL_BYTES = 1024


@contextmanager
def without_large_weights(model: ir.Model) -> Iterator[onnx.ModelProto]:
    """A proto of ``model`` in which large weights are inputs without data; the model is restored.

    The values that became inputs follow the model's own inputs.
    """
    graph = model.graph
    large = [
        value
        for value in graph.initializers.values()
        if value.const_value is not None and value.const_value.nbytes > SMALL_BYTES
    ]
    own = len(graph.inputs)
    for value in large:
        del graph.initializers[name_of(value)]
        graph.inputs.append(value)
    try:
        yield ir.to_proto(model)
    finally:
        del graph.inputs[own:]
        for value in large:
            graph.register_initializer(value)


def inferred(light: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """What inference finds about the values of the main graph, by name."""
    try:
        result = onnx.shape_inference.infer_shapes(light, strict_mode=False, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        # A value in the model contradicts ONNX's rules where ONNX Runtime is lenient.
        return {info.name: info for info in light.graph.value_info}
    return {info.name: info for info in [*result.graph.value_info, *result.graph.output]}


def forget_shapes(model: ir.Model) -> None:
    """Drop what the file claims of computed values, which need not be true.

    Outputs of operators that inference does not know keep their claims: nothing else is known.
    """
    for node in model.graph:
        if node.domain in ("", "ai.onnx"):
            for value in node.outputs:
                value.shape = None
                if not value.is_graph_output():
                    value.type = None


def infer_types(model: ir.Model) -> None:
    """Set type and shape of every value of the main graph that inference can tell."""
    if not opset(model):
        return
    with without_large_weights(model) as light:
        found = inferred(light)
    for node in model.graph:
        for value in node.outputs:
            info = found.get(value.name or "")
            if info is None:
                continue
            value.type = ir.serde.deserialize_type_proto_for_type(info.type) or value.type
            shape = ir.serde.deserialize_type_proto_for_shape(info.type)
            value.shape = shape if shape is not None else value.shape
