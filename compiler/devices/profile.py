"""Measure a model's regions and links on devices of a board, over RPC, and keep what is sound."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeweave.compiler.check_region import Verdict
from edgeweave.compiler.devices.bench import Effort
from edgeweave.compiler.devices.crew import DeviceCrew, DeviceOutcome
from edgeweave.compiler.devices.links import LinkResult
from edgeweave.compiler.devices.record import Broken, Recorder, Refused
from edgeweave.compiler.devices.regions import (
    BACKEND,
    check_device,
    profiled_engines,
)
from edgeweave.compiler.devices.work import build_work
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.pipeline import Job, Progress, silent
from edgeweave.compiler.profile import Fit, RegionProfile, SlotTime, fit_engine
from edgeweave.compiler.regions import Regions, find_regions
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.measurements import MeasureKey, MeasurementStore, Readings
from edgeweave.partition.prediction.provenance import DeviceStamp, Word
from edgeweave.targets.backend import Slot
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.cache import open_cache
from edgeweave.targets.devices.faults import (
    DeviceError,
    DeviceUnreachable,
)
from edgeweave.targets.devices.identity import hello
from edgeweave.targets.devices.pool import Place
from edgeweave.targets.devices.tracker import Tracker
from edgeweave.targets.errors import TargetError
from edgeweave.targets.region import Region

PHASE = "measuring on the device"
EMPTY_CALL = "a call that computes nothing"
_BUILD = "building regions"
_BATCH = 16  # regions that are timed in turn ...
_BATCH_BYTES = 64 << 20  # ... and what their code, weights and values may take together
_TRIES = 5  # sessions on one device that the way to it may cut off


class NothingMeasuredError(DeviceError):
    """A profile ended without a single figure to keep."""

    kind = "nothing-measured"


@dataclass(frozen=True)
class Unsteady:
    """A region whose times spread too far on a CPU: the middle half's share of the median."""

    region: str
    unit: str
    share: float


@dataclass(frozen=True)
class DeviceProfile:
    """All that was measured. ``board`` has what a plan will use of it.

    ``word`` is what the figures are called. ``regions`` and ``calls`` are as in a profile of this
    machine, ``fits`` the calibrated engines. ``unmeasured`` names regions that no device was left
    for. ``notes`` are sentences about what could not be done.
    """

    model: str
    board: Board
    word: Word
    devices: tuple[DeviceOutcome, ...]
    regions: tuple[RegionProfile, ...]
    calls: tuple[SlotTime, ...]
    links: tuple[LinkResult, ...]
    fits: tuple[Fit, ...]
    refused: tuple[Refused, ...]
    broken: tuple[Broken, ...]
    unsteady: tuple[Unsteady, ...]
    unmeasured: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def kept(self) -> int:
        """How many times of regions were kept."""
        return sum(len(region.times) for region in self.regions)

    def check(self) -> None:
        """Raise where nothing was kept: the fault of the one device, or NothingMeasuredError."""
        if self.kept:
            return
        faults = [device.fault for device in self.devices if device.fault is not None]
        if len(faults) == len(self.devices) == 1:
            raise faults[0]
        reasons = [
            *(f"{fault.subject} {fault.reason}" for fault in faults),
            *(f"{b.device.name}: {b.faults[0].reason}" for b in self.broken),
            *(f"{r.region.name} on {r.engine.name}: {r.detail}" for r in self.refused),
        ]
        told = f"{'; '.join(reasons[:2])}" if reasons else "it has no region that TVM takes"
        raise NothingMeasuredError(
            f"profile of {self.model} on {self.board.name}",
            f"no time of a region was kept ({told})",
            "Put that right and profile again",
        )


def profile_device(
    job: Job, place: Place, effort: Effort | None = None, progress: Progress = silent
) -> DeviceProfile:
    """Measure every distinct region of a model, and every link, on the CPUs of a board's devices.

    Everything is kept in the cache as soon as it is there; times of a device that did not behave
    are not. Raises TargetError for a board that has nothing to measure, the errors of reading the
    model, and the fault when no device can be had at all.
    """
    effort = effort or Effort()
    board = _check_board(job)
    engines = profiled_engines(board)
    triple = str(engines[0].llvm_target["mtriple"])
    options = replace(place.options, triple=triple, limit_s=effort.session_s)
    place = replace(place, options=options)
    _find_first(place, board)
    progress("import", 0, 1, str(job.model) if isinstance(job.model, Path) else "model")
    model = load_model(job.model, job.shapes, job.skip)
    regions = find_regions(model)
    cache = open_cache()
    with tempfile.TemporaryDirectory(prefix="edgeweave-") as folder:
        work = build_work(
            regions, engines, board, Path(folder), lambda *step: progress(_BUILD, *step)
        )
        recorder = Recorder(board, cache)
        for unbuilt in work.unbuilt:
            recorder.verdict(unbuilt, Verdict.UNBUILDABLE, unbuilt.reason, None)
        crew = DeviceCrew(board, effort, recorder, work.items, progress)
        devices = crew.run(place)
    notes = [*work.notes, *crew.notes]
    stamp = next((d.stamp for d in devices if d.stamp and not d.left_out), None)
    before = _known(board, cache)
    fits = _calibrate(recorder, regions, engines, before, stamp, notes, progress)
    return DeviceProfile(
        model=model.path.name,
        board=_known(board, cache),
        word="measured" if stamp is None else stamp.word,
        devices=devices,
        regions=_profiles(recorder, regions, engines),
        calls=_times(recorder, empty_call().graph.regions[0], engines),
        links=tuple(recorder.found.links),
        fits=fits,
        refused=tuple(recorder.found.refused.values()),
        broken=tuple(recorder.found.broken),
        unsteady=tuple(_unsteady(recorder, regions)),
        unmeasured=tuple(name for item in crew.queue.left for name in item.names),
        notes=tuple(notes),
    )


def _check_board(job: Job) -> Board:
    if job.board is None or job.board.is_host:
        raise TargetError(
            "board host",
            "is the machine edgeweave runs on, and --rpc measures another",
            "Name the board that the device is: edgeweave boards lists them, or give a .toml file",
        )
    return job.board


def _find_first(place: Place, board: Board) -> None:
    """Fail before anything is built when no device can be had, or its CPU is another."""
    addresses = [place.address]
    if place.key is not None:
        tracker = Tracker(place.address)
        tracker.take_free(place.key, 0)  # only asks whether there is such a key
        addresses = tracker.summary().of(place.key)
    for address in addresses:
        try:
            identity = hello(address)
        except DeviceUnreachable:
            if address == place.address:
                raise
            continue
        check_device(board, identity, f"device {identity.name} ({address})")
        return


def _known(board: Board, cache: Path | None) -> Board:
    """The board as the next plan sees it."""
    readings = MeasurementStore(cache).read() if cache else Readings((), (), (), 0)
    return readings.calibrated(board)


def _profiles(
    recorder: Recorder, regions: Regions, engines: Sequence[Engine]
) -> tuple[RegionProfile, ...]:
    """Each distinct region of the model with its times, in the order of the model."""
    counts = Counter(region.digest for region in regions.graph.regions)
    distinct = {region.digest: region for region in reversed(regions.graph.regions)}
    return tuple(
        RegionProfile(region.name, counts[region.digest], _times(recorder, region, engines))
        for region in sorted(distinct.values(), key=lambda region: region.index)
    )


def _times(recorder: Recorder, region: Region, engines: Sequence[Engine]) -> tuple[SlotTime, ...]:
    found = recorder.found.measurements
    keys = [(e, MeasureKey.of(region, e, BACKEND, recorder.board)) for e in engines]
    return tuple(SlotTime(Slot(e.name, BACKEND), found[key]) for e, key in keys if key in found)


def _unsteady(recorder: Recorder, regions: Regions) -> Iterator[Unsteady]:
    """The regions of the model, or the call that computes nothing, that are kept all the same."""
    names = {region.digest: region.name for region in reversed(regions.graph.regions)}
    for measured in recorder.found.unsteady:
        name = names.get(measured.key.digest, EMPTY_CALL)
        yield Unsteady(name, measured.key.unit, measured.spread_s / measured.seconds)


def _calibrate(
    recorder: Recorder,
    regions: Regions,
    engines: Sequence[Engine],
    before: Board,
    stamp: DeviceStamp | None,
    notes: list[str],
    progress: Progress,
) -> tuple[Fit, ...]:
    """Fit every engine to what was kept of the model's regions; what cannot be is told."""
    progress("calibrate", 0, 1, before.name)
    distinct = {region.digest: region for region in regions.graph.regions}.values()
    fits = []
    for engine in (before.engine(each.name) for each in engines):
        timed = [
            (region, time.measurement.seconds)
            for region in distinct
            for time in _times(recorder, region, [engine])
        ]
        if not timed:
            continue
        try:
            fit = fit_engine(engine, timed, before.dram_gb_s.value)
        except PartitionError as error:
            notes.append(f"{error.subject}: {error.reason}; it keeps its figures")
            continue
        if stamp is not None:
            origin = f"{fit.after.compute_efficiency.origin}, {stamp.word} on {stamp.name}"
            fit = replace(fit, after=_with_origin(fit.after, origin))
            recorder.calibration(fit.after, stamp)
        fits.append(fit)
    return tuple(fits)


def _with_origin(engine: Engine, origin: str) -> Engine:
    return replace(
        engine,
        compute_efficiency=replace(engine.compute_efficiency, origin=origin),
        memory_efficiency=replace(engine.memory_efficiency, origin=origin),
        call_overhead_us=replace(engine.call_overhead_us, origin=origin),
    )
