"""How far the outputs of a quantised model are from those of the float model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from edgeweave.compiler.quantize.calibration import Frame
from edgeweave.compiler.quantize.sessions import Session

Measure = Literal["iou", "top1", "equal", "cosine"]
Outputs = Sequence[Any]

# An output of rank 4 with more channels than this holds features, not one score per class.
_MOST_CLASSES = 64


@dataclass(frozen=True)
class OutputAccuracy:
    """One output of a quantised model against the float model's, over all frames.

    ``max_abs`` and ``rms`` are errors in the output's own unit. ``agreement`` is from 0 to 1, by
    the ``measure`` that fits: ``iou`` of the masks of greatest channels (rank 4), pooled over the
    frames and averaged over the classes above 0; ``top1``, the share of rows (rank 2) with the same
    greatest number; ``equal``, the share of equal integers; else the ``cosine``. ``lowest`` is that
    of the worst frame.
    """

    name: str
    measure: Measure
    max_abs: float
    rms: float
    cosine: float
    agreement: float
    lowest: float


def compare_outputs(
    names: Sequence[str], expected: Iterable[Outputs], actual: Iterable[Outputs]
) -> tuple[OutputAccuracy, ...]:
    """The accuracy of every output that is a tensor of numbers, frame by frame in step."""
    totals: dict[str, _Total] = {}
    for wanted, got in zip(expected, actual, strict=True):
        for name, a, b in zip(names, wanted, got, strict=True):
            if isinstance(a, np.ndarray) and a.dtype.kind in "fiub":
                totals.setdefault(name, _Total(a)).add(a, b)
    return tuple(total.result(name) for name, total in totals.items())


def measure_accuracy(
    proto: onnx.ModelProto, frames: Sequence[Frame], expected: Sequence[Outputs]
) -> tuple[OutputAccuracy, ...]:
    """The accuracy of a model on frames for which the float model's outputs are ``expected``."""
    session = Session(proto)
    return compare_outputs(session.outputs, expected, (session.run(frame) for frame in frames))


class _Total:
    """Sums over frames, from which an accuracy follows."""

    def __init__(self, first: np.ndarray) -> None:
        self._measure = _measure(first)
        classes = first.shape[1] if self._measure == "iou" else 2
        # what agrees and what there is of each class above 0, or of all
        self._shared = np.zeros(classes - 1)
        self._whole = np.zeros(classes - 1)
        self._lowest = 1.0
        self._max_abs = 0.0
        self._squares = self._elements = 0.0
        self._products = np.zeros(3)

    def add(self, wanted: np.ndarray, got: np.ndarray) -> None:
        a, b = _comparable(wanted, got)
        difference = np.abs(a - b)
        self._max_abs = max(self._max_abs, float(difference.max(initial=0.0)))
        self._squares += float(np.square(difference).sum())
        self._elements += difference.size
        with np.errstate(invalid="ignore"):
            products = np.array([(a * b).sum(), (a * a).sum(), (b * b).sum()])
        self._products += products
        if self._measure == "cosine":
            agreement = _cosine(products)
        else:
            shared, whole = _agreement(self._measure, wanted, got)
            self._shared += shared
            self._whole += whole
            agreement = _mean_share(shared, whole)
        self._lowest = min(self._lowest, agreement)

    def result(self, name: str) -> OutputAccuracy:
        cosine = _cosine(self._products)
        return OutputAccuracy(
            name=name,
            measure=self._measure,
            max_abs=self._max_abs,
            rms=math.sqrt(self._squares / self._elements) if self._elements else 0.0,
            cosine=cosine,
            agreement=cosine
            if self._measure == "cosine"
            else _mean_share(self._shared, self._whole),
            lowest=self._lowest,
        )


def _measure(output: np.ndarray) -> Measure:
    if output.dtype.kind != "f":
        return "equal"
    if output.ndim == 4 and 2 <= output.shape[1] <= _MOST_CLASSES and output.size:
        return "iou"
    return "top1" if output.ndim == 2 and output.shape[1] >= 2 and output.size else "cosine"


def _comparable(wanted: np.ndarray, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64; the same infinities and NaNs count as equal."""
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    same = ~np.isfinite(a) & ((a == b) | (np.isnan(a) & np.isnan(b)))
    return np.where(same, 0.0, a), np.where(same, 0.0, b)


def _agreement(
    measure: Measure, wanted: np.ndarray, got: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many elements agree, and of how many: of each class above 0, or of all."""
    if measure == "equal":
        return np.array([(wanted == got).sum()]), np.array([wanted.size])
    a, b = wanted.argmax(1), got.argmax(1)
    if measure == "top1":
        return np.array([(a == b).sum()]), np.array([a.size])
    classes = range(1, wanted.shape[1])
    shared = [((a == k) & (b == k)).sum() for k in classes]
    whole = [((a == k) | (b == k)).sum() for k in classes]
    return np.array(shared), np.array(whole)


def _mean_share(shared: np.ndarray, whole: np.ndarray) -> float:
    """The mean over the classes that occur; 1 where none does."""
    occurs = whole > 0
    return float((shared[occurs] / whole[occurs]).mean()) if occurs.any() else 1.0


def _cosine(products: np.ndarray) -> float:
    product, first, second = (float(p) for p in products)
    if first == 0.0 or second == 0.0:
        return 1.0 if first == second else 0.0
    cosine = product / math.sqrt(first) / math.sqrt(second)
    return min(1.0, cosine) if math.isfinite(cosine) else 0.0
