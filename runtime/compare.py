"""How far one output is from its reference: tensors, sequences, maps, absent optionals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeweave.runtime.runners import Value


@dataclass(frozen=True)
class Tolerance:
    """A value a agrees with its reference b when ``|a - b| <= atol + rtol * |b|``."""

    atol: float = 1e-3
    rtol: float = 1e-3


@dataclass(frozen=True)
class OutputDifference:
    """How far one output is from its reference, over all frames compared.

    ``max_abs`` is the largest absolute difference, ``max_rel`` that difference over the largest
    magnitude of the reference output in the same frame (over 1 where that is 0); NaN equals NaN,
    and an infinity only itself. Integers, booleans and strings must be equal. ``mismatch`` says in
    words what makes the comparison fail, and is empty when it passes.
    """

    name: str
    max_abs: float
    max_rel: float
    mismatch: str

    @property
    def passed(self) -> bool:
        """Whether every element agrees."""
        return not self.mismatch


def compare(name: str, actual: Value, expected: Value, tolerance: Tolerance) -> OutputDifference:
    """The difference of one value: a tensor, a sequence, a map or an absent optional."""
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping) or actual.keys() != expected.keys():
            return _mismatch(name, "its keys differ")
        return _compare_sequence(
            name, [actual[key] for key in expected], list(expected.values()), tolerance
        )
    if isinstance(expected, (list, tuple)):
        return _compare_sequence(name, actual, expected, tolerance)
    if expected is None or actual is None:
        same = expected is actual
        return _mismatch(name, "" if same else "one of the two is absent")
    return _compare_tensor(name, np.asarray(actual), np.asarray(expected), tolerance)


def _mismatch(name: str, text: str) -> OutputDifference:
    worst = float("inf") if text else 0.0
    return OutputDifference(name, worst, worst, text)


def _compare_sequence(
    name: str, actual: Value, expected: Sequence[Value], tolerance: Tolerance
) -> OutputDifference:
    if not isinstance(actual, (list, tuple)) or len(actual) != len(expected):
        return _mismatch(name, f"it is no sequence of {len(expected)} values")
    worst = _mismatch(name, "")
    for a, b in zip(actual, expected, strict=True):
        worst = worse(worst, compare(name, a, b, tolerance))
    return worst


def worse(a: OutputDifference, b: OutputDifference) -> OutputDifference:
    """The two differences of one output in one: the larger figures, the first mismatch."""
    return OutputDifference(
        a.name, max(a.max_abs, b.max_abs), max(a.max_rel, b.max_rel), a.mismatch or b.mismatch
    )


def _compare_tensor(name: str, a: Any, b: Any, tolerance: Tolerance) -> OutputDifference:
    if a.dtype != b.dtype or a.shape != b.shape:
        return _mismatch(name, f"it is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}")
    if a.dtype.kind in "biuOSU":
        wrong = int(np.count_nonzero(a != b))
        measurable = wrong and a.dtype.kind in "iu"
        # Python's integers, because the difference of two int64 may not fit into one
        far = float(np.max(np.abs(a.astype(object) - b.astype(object)))) if measurable else wrong
        top = float(np.max(np.abs(b.astype(object)))) if measurable else 1.0
        text = f"{wrong} of {a.size} values differ" if wrong else ""
        return OutputDifference(name, float(far), float(far) / (top or 1.0), text)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    return _compare_floats(name, a.astype(wide), b.astype(wide), tolerance)


def _compare_floats(name: str, a: Any, b: Any, tolerance: Tolerance) -> OutputDifference:
    close = np.isclose(a, b, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        far = np.where(same, 0.0, np.abs(a - b))
    far = np.where(np.isnan(far), np.inf, far)
    max_abs = float(np.max(far, initial=0.0))
    top = float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
    wrong = int(np.count_nonzero(~close))
    text = f"{wrong} of {a.size} values are outside the tolerance" if wrong else ""
    return OutputDifference(name, max_abs, max_abs / top if top else max_abs, text)
