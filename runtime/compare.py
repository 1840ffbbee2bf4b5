"""How far one output is from its reference: tensors, sequences, maps, absent optionals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeweave.runtime.runners import Value

# How much further from the reference than it moves by itself an output may be.
ROOM = 2.0


@dataclass(frozen=True)
class Tolerance:
    """A value a agrees with its reference b when ``|a - b| <= atol + rtol * |b|``.

    Integers agree when they are equal, or up to ``steps`` apart: those that stand for quantised
    values, which rounding in another order moves by a step.
    """

    atol: float = 1e-3
    rtol: float = 1e-3
    steps: int = 0


@dataclass(frozen=True)
class OutputDifference:
    """How far one output is from its reference, over all frames compared.

    ``max_abs`` is the largest absolute difference, ``max_rel`` that difference over the largest
    magnitude of the reference output in the same frame (over 1 where that is 0); NaN equals NaN,
    and an infinity only itself. Integers, booleans and strings must be equal. ``mismatch`` says in
    words what makes the comparison fail, and is empty when it passes. ``mean_abs`` is the mean
    absolute difference of the worst frame. ``rounding`` is the largest and the mean difference that
    the reference itself shows when its input is rounded otherwise, where that had to explain
    something.
    """

    name: str
    max_abs: float
    max_rel: float
    mismatch: str
    mean_abs: float = 0.0
    rounding: tuple[float, float] | None = None

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
        a.name,
        max(a.max_abs, b.max_abs),
        max(a.max_rel, b.max_rel),
        a.mismatch or b.mismatch,
        max(a.mean_abs, b.mean_abs),
        max((r for r in (a.rounding, b.rounding) if r is not None), default=None),
    )


def explained(found: OutputDifference, own: OutputDifference) -> OutputDifference:
    """A difference, passed where ``own`` explains it: how the reference moves by itself.

    Behind many quantised layers one sum that is rounded otherwise changes values all over: there is
    no one right result, and whoever is as close to the reference as it is to itself is right.
    """
    if found.max_abs > ROOM * own.max_abs or found.mean_abs > ROOM * own.mean_abs:
        return replace(found, rounding=(own.max_abs, own.mean_abs))
    return replace(found, mismatch="", rounding=(own.max_abs, own.mean_abs))


def _compare_tensor(name: str, a: Any, b: Any, tolerance: Tolerance) -> OutputDifference:
    if a.dtype != b.dtype or a.shape != b.shape:
        return _mismatch(name, f"it is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}")
    if a.dtype.kind in "biuOSU":
        return _compare_exactly(name, a, b, tolerance.steps)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    return _compare_floats(name, a.astype(wide), b.astype(wide), tolerance)


def _compare_exactly(name: str, a: Any, b: Any, steps: int) -> OutputDifference:
    unequal = int(np.count_nonzero(a != b))
    if not unequal or a.dtype.kind not in "iu":
        text = f"{unequal} of {a.size} values differ" if unequal else ""
        return OutputDifference(name, float(unequal), float(unequal), text)
    # Python's integers where the difference of two may not fit into one
    wide: Any = np.int64 if a.dtype.itemsize < 8 else object
    far = np.abs(a.astype(wide) - b.astype(wide))
    wrong = int(np.count_nonzero(far > steps))
    apart = f" by more than {steps}" if steps else ""
    text = f"{wrong} of {a.size} values differ{apart}" if wrong else ""
    most, top = float(np.max(far)), float(np.max(np.abs(b.astype(wide))))
    return OutputDifference(name, most, most / (top or 1.0), text, float(np.mean(far)))


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
    mean = float(np.mean(far)) if far.size else 0.0
    return OutputDifference(name, max_abs, max_abs / top if top else max_abs, text, mean)
