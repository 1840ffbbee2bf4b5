"""Flushing of weights to zero that are too small to matter and make arithmetic slow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeweave.compiler.frontend.weights import is_op

_FLUSHED = ("FLOAT", "DOUBLE", "BFLOAT16")
# Where a weight of these nodes only ever scales or shifts, so that its smallness stays small.
_LINEAR = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2, 3, 4),
    "PRelu": (1,),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
}
_ELEMENTWISE = {"Add": (0, 1), "Sub": (0, 1), "Mul": (0, 1)}


# A weight below this adds less than 1e-20 × its input to a sum whose other weights are ordinary,
# yet its products with ordinary activations are denormal, and those are as slow.
_TINY = 1e-20
_ORDINARY = 1e-10
_WEIGHTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (0, 1)}


def flush_denormals(model: ir.Model) -> int:
    """Set denormal float32, float64 and bfloat16 weights to zero; how many weights.

    They slow every multiplication down and add at most 1.2e-38 × the input. Only weights of linear
    operators are flushed. A float16 weight below 6e-5 is no denormal where it is computed with.
    """
    count = 0
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is not None and tensor.dtype.name in _FLUSHED and _is_linear(value):
            array = np.asarray(tensor.numpy())
            count += _flush(value, array, is_denormal(array))
    return count


def flush_tiny_weights(model: ir.Model) -> int:
    """Set float32 weights below 1e-20 to zero in layers that hold ordinary ones; how many."""
    count = 0
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype.name != "FLOAT" or not _is_only(value, _WEIGHTS):
            continue
        array = np.asarray(tensor.numpy())
        size = np.abs(array)
        if array.size and size.max() >= _ORDINARY:
            count += _flush(value, array, (size < _TINY) & (array != 0))
    return count


def _flush(value: ir.Value, array: np.ndarray, small: np.ndarray) -> int:
    count = int(np.count_nonzero(small))
    if count and value.const_value is not None:
        flushed = array.copy()
        flushed[small] = 0
        value.const_value = ir.tensor(flushed, dtype=value.const_value.dtype, name=value.name)
    return count


def is_denormal(array: np.ndarray) -> np.ndarray:
    """Which elements lie below the smallest normal number and are not zero.

    Told by their bits, for arithmetic may itself flush them: apart from the sign, a denormal is
    1 up to the largest mantissa; zero wraps around and becomes the largest number.
    """
    width = array.dtype.itemsize
    unsigned = np.dtype(f"u{width}").type
    bits = array.view(unsigned) & unsigned((1 << (8 * width - 1)) - 1)
    mantissa = {2: 7, 4: 23, 8: 52}[width]
    with np.errstate(over="ignore"):
        return np.asarray(bits - unsigned(1) < unsigned((1 << mantissa) - 1))


def _is_linear(value: ir.Value) -> bool:
    # A single tiny summand or factor may guard a division or a logarithm.
    elementwise = value.const_value is not None and value.const_value.size > 1
    return _is_only(value, {**_LINEAR, **(_ELEMENTWISE if elementwise else {})})


def _is_only(value: ir.Value, positions: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether all uses of ``value`` are by these operators, at these positions of their inputs."""
    return (
        bool(value.uses())
        and not value.is_graph_output()
        and all(
            is_op(use.node, *positions) and use.idx in positions[use.node.op_type]
            for use in value.uses()
        )
    )
