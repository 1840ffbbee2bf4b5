"""Measure a model's regions on this machine, and calibrate the cost model with them."""

from __future__ import annotations

from dataclasses import dataclass

from edgeweave.compiler.pipeline import Job, Progress, silent
from edgeweave.partition.measurements import Measurement
from edgeweave.targets.backend import Slot

REPEATS = 30


@dataclass(frozen=True)
class SlotTime:
    """What a slot takes for a whole call: of a region alone, or of a stage that computes nothing."""

    slot: Slot
    measurement: Measurement


@dataclass(frozen=True)
class RegionProfile:
    """A region of the model, how many of the model's regions are equal to it, and its times.

    A slot that refuses the region is missing from ``times``.
    """

    name: str
    count: int
    times: tuple[SlotTime, ...]


@dataclass(frozen=True)
class HandOver:
    """Seconds from the end of a stage to the start of its reader on another engine."""

    between: tuple[str, str]
    seconds: float
    spread_s: float
    repeats: int


@dataclass(frozen=True)
class Fit:
    """An engine's calibration from ``samples`` regions, each at its fastest backend.

    The ratios are medians of roofline / measured over these regions, whole calls on both sides.
    """

    engine: str
    samples: int
    compute_efficiency: float
    memory_efficiency: float
    call_overhead_us: float
    ratio_before: float
    ratio_after: float


@dataclass(frozen=True)
class Profile:
    """All that was measured. ``notes`` are sentences about what could not be measured or fitted."""

    model: str
    board: str
    regions: tuple[RegionProfile, ...]
    calls: tuple[SlotTime, ...]
    hand_over: HandOver | None
    fits: tuple[Fit, ...]
    notes: tuple[str, ...]


def profile_model(job: Job, progress: Progress = silent, repeats: int = REPEATS) -> Profile:
    """Measure every distinct region of a model on each slot of this machine, and calibrate.

    Every measurement is stored, so that the next plan uses it. Raises TargetError for another
    board, and the errors of reading the model.
    """
    raise NotImplementedError
