"""Warnings for weights that are not finite."""

from __future__ import annotations

import numpy as np
import onnx

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)


def nonfinite_weights(proto: onnx.ModelProto) -> list[str]:
    """A sentence for every weight tensor that holds a NaN or an infinity."""
    warnings = []
    for tensor in proto.graph.initializer:
        if tensor.data_type not in _FLOATS:
            continue
        array = onnx.numpy_helper.to_array(tensor)
        finite = np.isfinite(array)
        if finite.all():
            continue
        nans = int(np.count_nonzero(np.isnan(array)))
        infinities = int(array.size - np.count_nonzero(finite)) - nans
        held = [f"{n} {word}" for n, word in ((nans, "NaN"), (infinities, "infinite")) if n]
        warnings.append(f"weight {tensor.name!r} holds {' and '.join(held)} of {array.size} values")
    return warnings
