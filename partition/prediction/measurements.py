"""Measured costs on disk: append-only, safe against crashes, shared between processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.json_lines import append_records, read_records
from edgeweave.partition.prediction.profiled import (
    Forgotten,
    LinkMeasurement,
    ProfiledDevice,
    measured_links,
    remembered,
    with_forgotten,
)
from edgeweave.partition.prediction.provenance import DeviceStamp, stamp_from
from edgeweave.targets.board import Board, Engine, Quantity
from edgeweave.targets.region import Region

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class MeasureKey:
    """What a measured cost is a cost of.

    ``unit`` is what computes: LLVM's name of a CPU, so that equal clusters share measurements, or
    the name of another engine. ``threads`` is its number of cores, 1 for others. ``board`` is the
    board's identity.
    """

    digest: str
    backend: str
    unit: str
    threads: int
    board: str

    @classmethod
    def of(cls, region: Region, engine: Engine, backend: str, board: Board) -> MeasureKey:
        """The key of the region on that engine of the board through the backend."""
        mcpu = engine.llvm_target.get("mcpu") if engine.kind == "cpu" else None
        unit = mcpu if isinstance(mcpu, str) else engine.name
        threads = max(1, len(engine.cores))
        return cls(region.digest, backend, unit, threads, board.identity)


@dataclass(frozen=True)
class Measurement:
    """One measured region: median seconds of a whole call of it alone, the fixed cost included.

    ``spread_s`` is the interquartile range over ``repeats`` calls, of which ``outliers`` stand
    apart. ``versions`` is the backend's fingerprint, ``date`` an ISO date. ``device`` is None for
    what this machine measured of itself.
    """

    key: MeasureKey
    seconds: float
    spread_s: float
    repeats: int
    versions: str
    date: str
    outliers: int = 0
    device: DeviceStamp | None = None

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or not 0 <= self.spread_s < math.inf:
            raise PartitionError("measurement", f"{self.seconds} s is not a measured duration")

    @property
    def is_emulated(self) -> bool:
        """Whether it is of an emulated device, and so no cost."""
        return self.device is not None and self.device.is_emulated


@dataclass(frozen=True)
class Calibration:
    """Fitted efficiencies and call overhead of one engine of a board.

    ``device`` is None for what this machine measured of itself, ``date`` then "".
    """

    board: str
    engine: str
    compute_efficiency: float
    memory_efficiency: float
    call_overhead_us: float
    origin: str
    device: DeviceStamp | None = None
    date: str = ""

    def __post_init__(self) -> None:
        shares = (self.compute_efficiency, self.memory_efficiency)
        if not all(0 < share <= 1 for share in shares) or not self.call_overhead_us > 0:
            raise PartitionError("calibration", f"{shares} are not shares above 0 and up to 1")

    @classmethod
    def of(
        cls, board: Board, engine: Engine, device: DeviceStamp | None = None, date: str = ""
    ) -> Calibration:
        """What the calibrated engine holds."""
        return cls(
            board.identity,
            engine.name,
            engine.compute_efficiency.value,
            engine.memory_efficiency.value,
            engine.call_overhead_us.value,
            engine.compute_efficiency.origin,
            device,
            date,
        )

    @property
    def is_emulated(self) -> bool:
        """Whether it is of an emulated device, and so nothing to plan with."""
        return self.device is not None and self.device.is_emulated


@dataclass(frozen=True)
class Readings:
    """What a store holds, oldest first, and what could not be read.

    ``skipped`` names each bad line (``measurements.jsonl:7: reason``); ``cut_off`` counts last
    lines that a crash left unfinished. What comes from an emulated device is held as well, but no
    cost, link or calibration is taken from it.
    """

    measurements: tuple[Measurement, ...]
    calibrations: tuple[Calibration, ...]
    skipped: tuple[str, ...]
    cut_off: int
    links: tuple[LinkMeasurement, ...] = ()
    devices: tuple[ProfiledDevice, ...] = ()

    def latest(self, versions: Mapping[str, str] | None = None) -> dict[MeasureKey, Measurement]:
        """The latest measurement of each key, of real devices.

        With ``versions`` (backend name to fingerprint), only what those versions measured.
        """
        return {m.key: m for m in self.measurements if not m.is_emulated and _is_of(m, versions)}

    def seconds(self, versions: Mapping[str, str] | None = None) -> dict[MeasureKey, float]:
        """The seconds of ``latest``."""
        return {key: m.seconds for key, m in self.latest(versions).items()}

    def fitted(self, board: Board) -> dict[str, Calibration]:
        """The latest calibration of each of the board's engines, by its name, of real devices."""
        names = {engine.name for engine in board.engines}
        return {
            c.engine: c
            for c in self.calibrations
            if c.board == board.identity and c.engine in names and not c.is_emulated
        }

    def linked(self, board: Board) -> dict[int, LinkMeasurement]:
        """The latest measured link, of real devices, for each of the board's by its position."""
        return measured_links(board, self.links)

    def calibrated(self, board: Board) -> Board:
        """The board with the latest calibration of each of its engines, and its measured links."""
        fitted, linked = self.fitted(board), self.linked(board)
        engines = tuple(_apply(fitted[e.name], e) if e.name in fitted else e for e in board.engines)
        links = tuple(
            linked[i].apply(link) if i in linked else link for i, link in enumerate(board.links)
        )
        return replace(board, engines=engines, links=links)

    def emulated(self, board: Board, versions: Mapping[str, str] | None = None) -> set[object]:
        """What is held of the board that comes from emulated devices, each figure once."""
        return {
            *(
                m.key
                for m in self.measurements
                if m.key.board == board.identity and m.is_emulated and _is_of(m, versions)
            ),
            *(c.engine for c in self.calibrations if c.board == board.identity and c.is_emulated),
            *(
                frozenset(link.between)
                for link in self.links
                if link.board == board.identity and link.device.is_emulated
            ),
        }

    def device(self, board: Board) -> ProfiledDevice | None:
        """The device that was profiled last for the board; None when none was."""
        found = [device for device in self.devices if device.board == board.identity]
        return found[-1] if found else None


class MeasurementStore:
    """Files of JSON lines in a folder; several processes may append at the same time."""

    def __init__(self, folder: Path) -> None:
        self._measurements = folder / "measurements.jsonl"
        self._calibrations = folder / "calibrations.jsonl"
        self._links = folder / "links.jsonl"
        self._devices = folder / "devices.jsonl"

    def add(self, measurements: Sequence[Measurement]) -> None:
        """Append the measurements; PartitionError when the folder cannot be written."""
        append_records(self._measurements, measurements)

    def add_calibration(
        self, board: Board, engine: Engine, device: DeviceStamp | None = None, date: str = ""
    ) -> None:
        """Keep a calibrated engine's figures for the plans to come."""
        append_records(self._calibrations, [Calibration.of(board, engine, device, date)])

    def add_links(self, links: Sequence[LinkMeasurement]) -> None:
        """Append measured links."""
        append_records(self._links, links)

    def add_device(self, device: ProfiledDevice) -> None:
        """Keep that a device was profiled, and what it can run."""
        append_records(self._devices, [device])

    def forget(self, board: Board) -> None:
        """Take back all that is held of the board; the files keep the lines."""
        for path in (self._measurements, self._calibrations, self._links, self._devices):
            if path.exists():
                append_records(path, [Forgotten(board.identity)])

    def read(self) -> Readings:
        """All that the store holds, nothing if it is missing; PartitionError if unreadable."""
        skipped: list[str] = []

        def read(
            path: Path, parse: Callable[[dict[str, Any]], _Record]
        ) -> tuple[list[_Record | Forgotten], int]:
            return read_records(path, with_forgotten(parse), skipped)

        measured, cut_a = read(self._measurements, _measurement)
        calibrated, cut_b = read(self._calibrations, _calibration)
        links, cut_c = read(self._links, LinkMeasurement.of_json)
        devices, cut_d = read(self._devices, ProfiledDevice.of_json)
        return Readings(
            remembered(measured, lambda m: m.key.board),
            remembered(calibrated, lambda c: c.board),
            tuple(skipped),
            cut_a + cut_b + cut_c + cut_d,
            remembered(links, lambda link: link.board),
            remembered(devices, lambda device: device.board),
        )


def _is_of(measurement: Measurement, versions: Mapping[str, str] | None) -> bool:
    return versions is None or versions.get(measurement.key.backend) == measurement.versions


def _apply(calibration: Calibration, engine: Engine) -> Engine:
    return replace(
        engine,
        compute_efficiency=Quantity(calibration.compute_efficiency, calibration.origin),
        memory_efficiency=Quantity(calibration.memory_efficiency, calibration.origin),
        call_overhead_us=Quantity(calibration.call_overhead_us, calibration.origin),
    )


def _measurement(data: dict[str, Any]) -> Measurement:
    return Measurement(**(data | {"key": MeasureKey(**data["key"]), "device": stamp_from(data)}))


def _calibration(data: dict[str, Any]) -> Calibration:
    return Calibration(**(data | {"device": stamp_from(data)}))
