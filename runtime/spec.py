"""The description of one value that crosses a border: of a model, a region or a stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

# ONNX Runtime's names of element types -> (numpy or ml_dtypes name, bits per element).
_ELEMENTS: dict[str, tuple[str, int]] = {
    "float": ("float32", 32),
    "double": ("float64", 64),
    "float16": ("float16", 16),
    "bfloat16": ("bfloat16", 16),
    "float8e4m3fn": ("float8_e4m3fn", 8),
    "float8e4m3fnuz": ("float8_e4m3fnuz", 8),
    "float8e5m2": ("float8_e5m2", 8),
    "float8e5m2fnuz": ("float8_e5m2fnuz", 8),
    "float8e8m0": ("float8_e8m0fnu", 8),
    "float4e2m1": ("float4_e2m1fn", 4),
    "int64": ("int64", 64),
    "int32": ("int32", 32),
    "int16": ("int16", 16),
    "int8": ("int8", 8),
    "int4": ("int4", 4),
    "int2": ("int2", 2),
    "uint64": ("uint64", 64),
    "uint32": ("uint32", 32),
    "uint16": ("uint16", 16),
    "uint8": ("uint8", 8),
    "uint4": ("uint4", 4),
    "uint2": ("uint2", 2),
    "bool": ("bool", 8),
    "complex64": ("complex64", 64),
    "complex128": ("complex128", 128),
    "string": ("object", 0),
}


@dataclass(frozen=True)
class ValueSpec:
    """Name, ONNX type and shape of a value.

    ``type`` is written as ONNX Runtime prints it: ``tensor(float)``, ``seq(tensor(int64))``.
    ``shape`` is None when the rank is unknown or the value is no tensor; a dimension is None when
    it depends on the data.
    """

    name: str
    type: str
    shape: tuple[int | None, ...] | None

    @property
    def element(self) -> str | None:
        """The ONNX element type of a tensor (``float``, ``int8``), or None for other types."""
        if self.type.startswith("tensor(") and self.type.endswith(")"):
            return self.type[len("tensor(") : -1]
        return None

    @property
    def dtype(self) -> str | None:
        """The numpy (or ml_dtypes) name of the element type, or None for what is no tensor."""
        entry = _ELEMENTS.get(self.element or "")
        return entry[0] if entry else None

    @property
    def is_static(self) -> bool:
        """Whether this is a tensor whose every dimension is known."""
        return self.dtype is not None and self.shape is not None and None not in self.shape

    @property
    def nbytes(self) -> int | None:
        """Size in bytes of the tensor's elements, or None when the shape is not known."""
        entry = _ELEMENTS.get(self.element or "")
        if entry is None or self.shape is None:
            return None
        known = [d for d in self.shape if d is not None]
        return None if len(known) < len(self.shape) else (math.prod(known) * entry[1] + 7) // 8
