"""Measure a model's regions on this machine, and calibrate the cost model with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgeweave.compiler.checks import Checks
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.pipeline import Job, Progress, silent
from edgeweave.compiler.regions import find_regions
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.calibrate import Sample, calibrate
from edgeweave.partition.prediction.measurements import Measurement
from edgeweave.partition.prediction.roofline import roofline
from edgeweave.targets.backend import Slot
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.cache import open_cache
from edgeweave.targets.errors import TargetError
from edgeweave.targets.host import detect_host
from edgeweave.targets.region import Region

REPEATS = 30


@dataclass(frozen=True)
class SlotTime:
    """What a whole call takes on a slot."""

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
class Fit:
    """An engine's calibration from ``samples`` distinct regions, each at its fastest backend.

    The ratios are medians of roofline / measured over these regions, of whole calls; ``before`` is
    the board as plans used it so far.
    """

    before: Engine
    after: Engine
    samples: int
    ratio_before: float
    ratio_after: float


@dataclass(frozen=True)
class Profile:
    """All that was measured.

    ``board`` is this machine with its calibrated engines and its link, measured anew. ``calls``
    are times of a call that computes nothing. ``notes`` are sentences about what could not be done.
    """

    model: str
    board: Board
    regions: tuple[RegionProfile, ...]
    calls: tuple[SlotTime, ...]
    fits: tuple[Fit, ...]
    notes: tuple[str, ...]


def profile_model(job: Job, progress: Progress = silent, repeats: int = REPEATS) -> Profile:
    """Measure every distinct region of a model on each slot of this machine, and calibrate.

    Everything is kept in the cache: the next plan uses the times of these regions, and the
    calibrated roofline for others. An engine has one efficiency for all its backends, so it is
    fitted to each region's fastest. Raises TargetError for a board other than this machine or
    less than one repeat, and the errors of reading the model.
    """
    _check_job(job, repeats)
    progress("import", 0, 1, str(job.model) if isinstance(job.model, Path) else "model")
    model = load_model(job.model, job.shapes, job.skip)
    regions = find_regions(model)
    cache = open_cache()
    progress("measure", 0, 1, "memory and hand-over")
    checks = Checks(detect_host(cache, refresh=True), cache)
    before = checks.host
    tasks = [
        task
        for part in (empty_call(), regions)
        for task in checks.tasks(part, timed=True, fresh=True, repeats=repeats)
    ]
    checks.run(tasks, lambda done, total, what: progress("measure", done, total, what))
    counts = Counter(region.digest for region in regions.graph.regions)
    distinct = {region.digest: region for region in reversed(regions.graph.regions)}
    ordered = sorted(distinct.values(), key=lambda region: region.index)
    progress("calibrate", 0, 1, before.name)
    fits, notes = _calibrate(checks, ordered)
    return Profile(
        model=model.path.name,
        board=checks.host,
        regions=tuple(
            RegionProfile(region.name, counts[region.digest], _times(checks, region))
            for region in ordered
        ),
        calls=_times(checks, empty_call().graph.regions[0]),
        fits=fits,
        notes=(*checks.notes, *notes),
    )


def _check_job(job: Job, repeats: int) -> None:
    if job.board is not None and not job.board.is_host:
        raise TargetError(
            f"board {job.board.name}",
            "its regions can be measured on the device only, and this machine is another",
            "Name the device with --rpc HOST:PORT, or profile the board host here",
        )
    if repeats < 1:
        raise TargetError("profile", f"{repeats} repeats measure nothing", "Ask for 1 or more")


def _times(checks: Checks, region: Region) -> tuple[SlotTime, ...]:
    slots = [(e, backend) for e in checks.host.engines for backend in e.backends]
    found = [
        (Slot(e.name, backend), checks.measurement(region, e, backend))
        for e, backend in slots
        if checks.refuse(region, e, backend) is None
    ]
    return tuple(SlotTime(slot, m) for slot, m in found if m is not None)


def fit_engine(engine: Engine, timed: Sequence[tuple[Region, float]], dram_gb_s: float) -> Fit:
    """Calibrate an engine with regions and seconds of whole calls; PartitionError if too few."""
    samples = [
        Sample(region.flops, region.bytes_moved, seconds, region.precision)
        for region, seconds in timed
    ]
    fitted = calibrate(samples, engine, dram_gb_s)
    before, after = (_ratio(timed, e, dram_gb_s) for e in (engine, fitted))
    return Fit(engine, fitted, len(samples), before, after)


def _calibrate(checks: Checks, regions: Sequence[Region]) -> tuple[tuple[Fit, ...], list[str]]:
    """Fit every engine, and keep the fits; what could not be fitted is told in sentences."""
    fits, notes = [], []
    dram_gb_s = checks.host.dram_gb_s.value
    for engine in checks.host.engines:
        try:
            fit = fit_engine(engine, _fastest(checks, regions, engine), dram_gb_s)
        except PartitionError as error:
            notes.append(f"{error.subject}: {error.reason}; it keeps its figures")
            continue
        checks.calibrate(fit.after)
        fits.append(fit)
    return tuple(fits), notes


def _fastest(
    checks: Checks, regions: Sequence[Region], engine: Engine
) -> list[tuple[Region, float]]:
    found = []
    for region in regions:
        times = [t for t in _times(checks, region) if t.slot.engine == engine.name]
        if times:
            found.append((region, min(time.measurement.seconds for time in times)))
    return found


def _ratio(fastest: Sequence[tuple[Region, float]], engine: Engine, dram_gb_s: float) -> float:
    """Median of roofline / measured, the fixed cost of a call on both sides."""
    overhead_s = engine.call_overhead_us.value / 1e6
    return median(
        (roofline(region, engine, dram_gb_s).seconds + overhead_s) / seconds
        for region, seconds in fastest
    )
