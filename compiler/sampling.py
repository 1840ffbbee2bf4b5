"""Seeded random values for the inputs of a model, a region or a stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from edgeweave.runtime.spec import ValueSpec

Style = Literal["normal", "unit", "wide", "small-ints"]

# What an open dimension or an unknown rank becomes: enough to be no special case.
_OPEN_DIMENSION = 2
_SEQUENCE_LENGTH = 3
_WIDE_SCALE = 100.0


def random_inputs(specs: Sequence[ValueSpec], seed: int, style: Style = "normal") -> dict[str, Any]:
    """One random value per spec: an array, or a list of arrays for a sequence.

    Floats are N(0, 1) in style ``normal``, uniform in [0, 1) in ``unit``, N(0, 100) in ``wide``
    and 0, 1 or 2 in ``small-ints``. Integers span [0, 9] in ``normal``, their whole range up to
    ±1000 in ``wide`` and are 0 or 1 in ``unit`` and ``small-ints``. Element types numpy lacks come
    as ml_dtypes. The same specs, seed and style give the same values.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _value(spec.type, spec.shape, generator, style) for spec in specs}


def _value(
    kind: str, shape: tuple[int | None, ...] | None, generator: np.random.Generator, style: Style
) -> Any:
    wrapper, _, inner = kind.partition("(")
    inner = inner.removesuffix(")")
    if wrapper == "seq":
        return [_value(inner, shape, generator, style) for _ in range(_SEQUENCE_LENGTH)]
    if wrapper == "optional":
        return _value(inner, shape, generator, style)
    if wrapper == "map":
        key, _, value = inner.partition(",")
        keys = ["a", "b", "c"] if key == "string" else [0, 1, 2]
        scalar = () if value.startswith("tensor(") else None
        return {k: _value(value, scalar, generator, style).item() for k in keys}
    dims = tuple(_OPEN_DIMENSION if d is None else d for d in (shape or ()))
    array = _array(kind, dims, generator, style)
    # numpy makes scalars of arrays without axes.
    return array if isinstance(array, np.ndarray) else np.array(array)


def _array(
    kind: str, dims: tuple[int, ...], generator: np.random.Generator, style: Style
) -> np.ndarray:
    name = ValueSpec("", kind, dims).dtype
    if name is None:
        raise ValueError(f"no random values for type {kind!r}")
    if name == "object":
        words = np.array(["a", "b", "edge", "weave", ""], dtype=object)
        return np.array(words[generator.integers(0, len(words), dims)], dtype=object)
    dtype = _dtype(name)
    if name == "bool":
        return generator.integers(0, 2, dims).astype(bool)
    if name.startswith("complex"):
        real, imaginary = (_floats(dims, generator, style) for _ in range(2))
        return (real + 1j * imaginary).astype(dtype)
    if name.startswith(("int", "uint")):
        low, high = _integer_range(name, style)
        return generator.integers(low, high, dims, endpoint=True).astype(dtype)
    values = _floats(dims, generator, style)
    if name == "float8_e8m0fnu":  # powers of two only, and no zero
        values = np.exp2(np.clip(np.round(values), -100, 100))
    largest = _largest(dtype)
    return np.asarray(np.clip(values, -largest, largest), dtype)


def _dtype(name: str) -> np.dtype[Any]:
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        lacking: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return lacking


def _largest(dtype: np.dtype[Any]) -> float:
    """The largest finite number of a floating-point type."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]


def _floats(dims: tuple[int, ...], generator: np.random.Generator, style: Style) -> np.ndarray:
    if style == "unit":
        return generator.random(dims)
    if style == "small-ints":
        return generator.integers(0, 3, dims).astype(np.float64)
    scale = _WIDE_SCALE if style == "wide" else 1.0
    return np.asarray(generator.standard_normal(dims) * scale)


def _integer_range(name: str, style: Style) -> tuple[int, int]:
    unsigned = name.startswith("u")
    bits = int(name.removeprefix("u").removeprefix("int"))
    largest = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
    if style == "wide":
        low = 0 if unsigned else max(-largest - 1, -1000)
        return low, min(largest, 1000)
    return 0, min(largest, 9 if style == "normal" else 1)
