"""Fitting an engine's efficiencies and call overhead to measured regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.roofline import require_peak
from edgeweave.targets.board import Engine, Quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MINIMUM = 3  # three parameters are fitted
_GRID = 9  # points per parameter and round
_ROUNDS = 24
_SHRINK = 0.6  # below 1/2 the search could step over the minimum between two grid points
_PRIOR = 1e-3  # weight of the engine's old values; decides only what the samples leave open
_LOWEST = 1e-4  # efficiency
_SHORTEST_CALL_S = 1e-9


@dataclass(frozen=True)
class Sample:
    """One measured region: operations, bytes moved, and the seconds of a whole call of it alone."""

    flops: float
    nbytes: float
    seconds: float
    precision: str = "float32"

    def __post_init__(self) -> None:
        sizes = 0 <= self.flops < math.inf and 0 <= self.nbytes < math.inf
        if not sizes or not 0 < self.seconds < math.inf:
            raise PartitionError("calibration sample", f"{self} is not a measured region")


def calibrate(samples: Sequence[Sample], engine: Engine, dram_gb_s: float) -> Engine:
    """The engine with efficiencies and call overhead fitted to the samples.

    Fits ``seconds = overhead + max(flops / (peak e_c), nbytes / (dram_gb_s e_m))`` by the least
    absolute error of log(seconds), which a few outliers do not move; e_c and e_m stay within
    (0, 1]. What the samples do not determine keeps its old value. Raises PartitionError for fewer
    than three samples or a precision the engine has no peak for.
    """
    if len(samples) < _MINIMUM:
        raise PartitionError(
            f"calibration of {engine.name}",
            f"{len(samples)} measured regions do not determine {_MINIMUM} parameters",
            "Measure more regions on this engine",
        )
    import numpy as np

    arithmetic = np.array([s.flops / require_peak(engine, s.precision) / 1e9 for s in samples])
    traffic = np.array([s.nbytes / dram_gb_s / 1e9 for s in samples])
    measured = np.array([s.seconds for s in samples])
    compute, memory, overhead = _fit(arithmetic, traffic, measured, engine)
    predicted = overhead + np.maximum(arithmetic / compute, traffic / memory)
    ratio = float(np.median(predicted / measured))
    origin = f"calibrated from {len(samples)} measured regions, median ratio {ratio:.2f}"
    return replace(
        engine,
        compute_efficiency=Quantity(compute, origin),
        memory_efficiency=Quantity(memory, origin),
        call_overhead_us=Quantity(overhead * 1e6, origin),
    )


def _fit(
    arithmetic: NDArray[Any], traffic: NDArray[Any], measured: NDArray[Any], engine: Engine
) -> tuple[float, float, float]:
    """Compute efficiency, memory efficiency and overhead in seconds: a grid that zooms in.

    The error is not convex, so the grid starts over the whole range and shrinks slowly. All three
    are searched as logarithms.
    """
    import numpy as np

    shortest = float(measured.min())
    low = np.log([_LOWEST, _LOWEST, min(_SHORTEST_CALL_S, shortest / 2)])
    high = np.log([1.0, 1.0, shortest])
    old = (engine.compute_efficiency, engine.memory_efficiency, engine.call_overhead_us)
    prior = np.clip(np.log([old[0].value, old[1].value, old[2].value / 1e6]), low, high)
    center, span = (low + high) / 2, (high - low) / 2
    best, best_error = center, math.inf
    for _ in range(_ROUNDS):
        axes = [
            np.clip(np.linspace(c - s, c + s, _GRID), lo, hi)
            for c, s, lo, hi in zip(center, span, low, high, strict=True)
        ]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        errors = _errors(points, arithmetic, traffic, measured)
        errors += _PRIOR * np.abs(points - prior).sum(axis=1)
        at = int(errors.argmin())
        if errors[at] < best_error:
            best, best_error = points[at], float(errors[at])
        center, span = best, span * _SHRINK
    compute, memory, overhead = (float(v) for v in np.exp(best))
    return min(compute, 1.0), min(memory, 1.0), overhead


def _errors(
    points: NDArray[Any], arithmetic: NDArray[Any], traffic: NDArray[Any], measured: NDArray[Any]
) -> NDArray[Any]:
    """Mean absolute log error of every point (compute, memory, overhead) over all samples."""
    import numpy as np

    values = np.exp(points)[:, :, np.newaxis]
    work = np.maximum(arithmetic / values[:, 0], traffic / values[:, 1])
    errors: NDArray[Any] = np.abs(np.log((values[:, 2] + work) / measured)).mean(axis=1)
    return errors
