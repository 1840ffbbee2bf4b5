"""The law of contention from measurements: its knee and slope by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeweave.partition.contention import INFINITY, Contention
from edgeweave.partition.errors import PartitionError

_STEPS = 64  # knees tried per round
_ROUNDS = 8  # each round looks closer at the best knee of the one before


@dataclass(frozen=True)
class Sample:
    """One measurement: how many times as long a piece of work took beside others as alone.

    ``own`` is what it draws alone and ``others`` what the other engines draw alone, in bytes per
    second.
    """

    own: float
    others: float
    slowdown: float

    def __post_init__(self) -> None:
        if not 0 < self.own < INFINITY or not 0 <= self.others < INFINITY:
            raise PartitionError("sample", f"{self.own} beside {self.others} bytes/s is no demand")
        if not 0 < self.slowdown < INFINITY:
            raise PartitionError("sample", f"a slowdown of {self.slowdown} is not a number above 0")


@dataclass(frozen=True)
class Fit:
    """The law that fits best, and the root of the mean squared error of its slowdowns."""

    contention: Contention
    error: float


def fit_contention(samples: Sequence[Sample]) -> Fit:
    """The knee and slope that minimise the squared error of the slowdowns.

    For a given knee the best slope is a ratio of sums; the knee is searched from the smallest total
    demand to the largest, ever closer. The knee is sharp only where samples lie on both sides of
    it. Raises PartitionError when no sample is slowed down, which determines neither.
    """
    totals = [s.own + s.others for s in samples if s.others > 0]
    if not totals or all(s.slowdown <= 1 for s in samples if s.others > 0):
        raise PartitionError(
            "contention",
            f"none of {len(samples)} samples is slowed down by others",
            "Measure with more traffic beside it, or state no contention",
        )
    low, high = min(totals) / 2, max(totals)
    best = _best(samples, low, high)
    for _ in range(_ROUNDS):
        step = (high - low) / _STEPS
        knee = best.contention.knee_bytes_per_s
        low, high = max(knee - step, low), min(knee + step, high)
        best = min(best, _best(samples, low, high), key=lambda fit: fit.error)
    return best


def _best(samples: Sequence[Sample], low: float, high: float) -> Fit:
    # The largest demand itself leaves no sample above the knee.
    knees = (low + (high - low) * i / _STEPS for i in range(_STEPS))
    return min((_fit_slope(samples, knee) for knee in knees), key=lambda fit: fit.error)


def _fit_slope(samples: Sequence[Sample], knee: float) -> Fit:
    unit = Contention(knee, 1.0)
    excess = [unit.slowdown(s.own, s.others) - 1 for s in samples]
    extra = [s.slowdown - 1 for s in samples]
    square = sum(x * x for x in excess)
    product = sum(x * y for x, y in zip(excess, extra, strict=True))
    slope = max(0.0, product / square) if square > 0 else 0.0
    wrong = sum((slope * x - y) ** 2 for x, y in zip(excess, extra, strict=True))
    return Fit(Contention(knee, slope), (wrong / len(samples)) ** 0.5)
