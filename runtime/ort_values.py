"""ONNX Runtime values of the types that numpy itself does not have, as ml_dtypes arrays."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnxruntime

from edgeweave.runtime.dtypes import named_dtype
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.spec import ValueSpec

# ONNX Runtime's name of the element type -> (TensorProto.DataType, bits per element)
_FOREIGN = {
    "bfloat16": (16, 16),
    "float8e4m3fn": (17, 8),
    "float8e4m3fnuz": (18, 8),
    "float8e5m2": (19, 8),
    "float8e5m2fnuz": (20, 8),
    "uint4": (21, 4),
    "int4": (22, 4),
    "float4e2m1": (23, 4),
    "float8e8m0": (24, 8),
    "uint2": (25, 2),
    "int2": (26, 2),
}

_CAST = "ONNX Runtime's Python interface has no way to do it; cast that output in the model"


def needs_ort_value(kind: str) -> bool:
    """Whether values of an ONNX type (``tensor(bfloat16)``) cannot pass as numpy arrays."""
    return _element(kind) in _FOREIGN


def _element(kind: str) -> str:
    return ValueSpec("", kind, None).element or ""


def to_ort_value(value: Any, kind: str) -> onnxruntime.OrtValue:
    """Wrap a tensor; whole-byte elements are not copied, smaller ones are packed."""
    element = _element(kind)
    if element in ("", "string") or value is None:
        raise RuntimeFault(
            kind,
            "cannot be fed to a model that returns bfloat16, float8 or 4-bit tensors",
            _CAST,
        )
    if element not in _FOREIGN:
        return onnxruntime.OrtValue.ortvalue_from_numpy(_contiguous(value))
    number, bits = _FOREIGN[element]
    if bits >= 8:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(_contiguous(value), number)
    packed = _pack(np.asarray(value), bits)
    result = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(np.shape(value)), number)
    ctypes.memmove(result.data_ptr(), packed.ctypes.data, packed.nbytes)
    return result


def from_ort_value(value: onnxruntime.OrtValue) -> Any:
    """The array of a tensor; None for an empty optional; RuntimeFault for other types."""
    if not value.has_value():
        return None
    element = _element(value.data_type())
    if element not in _FOREIGN:
        if not value.is_tensor():
            raise RuntimeFault(
                value.data_type(),
                "cannot be returned by a model that also returns bfloat16, float8 or 4-bit tensors",
                _CAST,
            )
        return value.numpy()
    dtype = named_dtype(ValueSpec("", f"tensor({element})", None).dtype or "")
    size = value.tensor_size_in_bytes()
    raw = np.frombuffer(ctypes.string_at(value.data_ptr(), size) if size else b"", np.uint8)
    shape, bits = tuple(value.shape()), _FOREIGN[element][1]
    if bits < 8:
        raw = _unpack(raw, bits, int(np.prod(shape, dtype=np.int64)))
    return raw.view(dtype).reshape(shape)


def _contiguous(value: Any) -> Any:
    return np.require(value, requirements=["C"])


def _pack(value: Any, bits: int) -> Any:
    """Pack one element per byte into 8 / bits elements per byte, the first in the low bits."""
    per_byte = 8 // bits
    flat = np.array(value, order="C").reshape(-1).view(np.uint8) & ((1 << bits) - 1)
    rows = np.pad(flat, (0, -len(flat) % per_byte)).reshape(-1, per_byte)
    shifted = rows << (np.arange(per_byte, dtype=np.uint8) * bits)
    return np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8)


def _unpack(raw: Any, bits: int, count: int) -> Any:
    """Undo ``_pack``; the unused high bits are left 0, as ml_dtypes ignores them."""
    per_byte = 8 // bits
    spread = raw[:, None] >> (np.arange(per_byte, dtype=np.uint8) * bits)
    return np.ascontiguousarray((spread & ((1 << bits) - 1)).reshape(-1)[:count])
