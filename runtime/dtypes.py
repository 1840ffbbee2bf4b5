"""ONNX element types as numpy dtypes, ml_dtypes' where numpy has none."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from edgeweave.runtime.spec import ValueSpec


def numpy_dtype(spec: ValueSpec) -> np.dtype[Any] | None:
    """The numpy dtype of a tensor's arrays (ml_dtypes' where numpy has none), else None."""
    name = spec.dtype
    return None if name is None else named_dtype(name)


def named_dtype(name: str) -> np.dtype[Any]:
    """The dtype of that numpy or ml_dtypes name; TypeError when neither has it."""
    return np.dtype(getattr(ml_dtypes, name, name))
