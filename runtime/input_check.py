"""The guard at the door of a pipeline: names, dtypes and shapes of a frame's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeweave.runtime.dtypes import numpy_dtype
from edgeweave.runtime.errors import InputError
from edgeweave.runtime.runners import Value
from edgeweave.runtime.spec import ValueSpec


def check_inputs(specs: Sequence[ValueSpec], frame: Mapping[str, Any]) -> dict[str, Value]:
    """The frame's values as the stages take them; InputError names input, expected and got.

    Nothing is converted: a tensor must have the declared dtype and every declared dimension.
    """
    names = {spec.name for spec in specs}
    declared = ", ".join(repr(spec.name) for spec in specs) or "none"
    for name in frame:
        if name not in names:
            raise InputError(
                f"input {name!r}", "is not an input of the model", f"It has {declared}"
            )
    checked = {}
    for spec in specs:
        optional = spec.type.startswith("optional(")
        if spec.name not in frame and not optional:
            raise InputError(f"input {spec.name!r}", "is missing", f"The model has {declared}")
        checked[spec.name] = _check(spec, frame.get(spec.name))
    return checked


def _check(spec: ValueSpec, value: Any) -> Value:
    kind = spec.type
    if kind.startswith("optional("):
        inner = ValueSpec(spec.name, kind[len("optional(") : -1], spec.shape)
        return None if value is None else _check(inner, value)
    if kind.startswith("seq(tensor("):
        if not isinstance(value, (list, tuple)):
            raise _mismatch(spec, f"a list of arrays ({kind})", type(value).__name__)
        element = ValueSpec(spec.name, kind[len("seq(") : -1], None)
        return [_check(element, item) for item in value]
    return value if numpy_dtype(spec) is None else _check_tensor(spec, value)


def _check_tensor(spec: ValueSpec, value: Any) -> Value:
    array = np.asarray(value)
    dtype = numpy_dtype(spec)
    if array.dtype.kind in "UT" and dtype == np.dtype(object):
        array = array.astype(object)
    if array.dtype != dtype:
        raise _mismatch(spec, f"dtype {dtype}", str(array.dtype))
    if spec.shape is not None and not _fits(array.shape, spec.shape):
        shown = "x".join("?" if d is None else str(d) for d in spec.shape) or "scalar"
        got = "x".join(str(d) for d in array.shape) or "scalar"
        raise _mismatch(spec, f"shape {shown}", got)
    return array


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(
        want is None or want == got for want, got in zip(declared, shape, strict=True)
    )


def _mismatch(spec: ValueSpec, expected: str, got: str) -> InputError:
    return InputError(
        f"input {spec.name!r}",
        f"expected {expected}, got {got}",
        "Convert the frame before it runs",
    )
