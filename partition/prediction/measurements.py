"""Measured costs on disk: append-only, safe against crashes, shared between processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.json_lines import append_records, read_records
from edgeweave.targets.board import Board, Engine, Quantity
from edgeweave.targets.region import Region


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

    ``spread_s`` is the interquartile range over ``repeats`` calls. ``versions`` is the backend's
    fingerprint, ``date`` an ISO date.
    """

    key: MeasureKey
    seconds: float
    spread_s: float
    repeats: int
    versions: str
    date: str

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or not 0 <= self.spread_s < math.inf:
            raise PartitionError("measurement", f"{self.seconds} s is not a measured duration")


@dataclass(frozen=True)
class Calibration:
    """Fitted efficiencies and call overhead of one engine of a board."""

    board: str
    engine: str
    compute_efficiency: float
    memory_efficiency: float
    call_overhead_us: float
    origin: str

    def __post_init__(self) -> None:
        shares = (self.compute_efficiency, self.memory_efficiency)
        if not all(0 < share <= 1 for share in shares) or not self.call_overhead_us > 0:
            raise PartitionError("calibration", f"{shares} are not shares above 0 and up to 1")

    @classmethod
    def of(cls, board: Board, engine: Engine) -> Calibration:
        """What the calibrated engine holds."""
        return cls(
            board.identity,
            engine.name,
            engine.compute_efficiency.value,
            engine.memory_efficiency.value,
            engine.call_overhead_us.value,
            engine.compute_efficiency.origin,
        )


@dataclass(frozen=True)
class Readings:
    """What a store holds, oldest first, and what could not be read.

    ``skipped`` names each bad line (``measurements.jsonl:7: reason``); ``cut_off`` counts last
    lines that a crash left unfinished.
    """

    measurements: tuple[Measurement, ...]
    calibrations: tuple[Calibration, ...]
    skipped: tuple[str, ...]
    cut_off: int

    def seconds(self, versions: Mapping[str, str] | None = None) -> dict[MeasureKey, float]:
        """The latest seconds of each key.

        With ``versions`` (backend name to fingerprint), only what those versions measured.
        """
        return {
            m.key: m.seconds
            for m in self.measurements
            if versions is None or versions.get(m.key.backend) == m.versions
        }

    def calibrated(self, board: Board) -> Board:
        """The board with the latest calibration of each of its engines."""
        latest = {c.engine: c for c in self.calibrations if c.board == board.identity}
        engines = tuple(_apply(latest[e.name], e) if e.name in latest else e for e in board.engines)
        return replace(board, engines=engines)


class MeasurementStore:
    """Two files of JSON lines in a folder; several processes may append at the same time."""

    def __init__(self, folder: Path) -> None:
        self._measurements = folder / "measurements.jsonl"
        self._calibrations = folder / "calibrations.jsonl"

    def add(self, measurements: Sequence[Measurement]) -> None:
        """Append the measurements; PartitionError when the folder cannot be written."""
        append_records(self._measurements, measurements)

    def add_calibration(self, board: Board, engine: Engine) -> None:
        """Keep a calibrated engine's figures for the plans to come."""
        append_records(self._calibrations, [Calibration.of(board, engine)])

    def read(self) -> Readings:
        """All that the store holds, nothing if it is missing; PartitionError if unreadable."""
        skipped: list[str] = []
        measured, cut_a = read_records(self._measurements, _measurement, skipped)
        calibrated, cut_b = read_records(self._calibrations, lambda d: Calibration(**d), skipped)
        return Readings(tuple(measured), tuple(calibrated), tuple(skipped), cut_a + cut_b)


def _apply(calibration: Calibration, engine: Engine) -> Engine:
    return replace(
        engine,
        compute_efficiency=Quantity(calibration.compute_efficiency, calibration.origin),
        memory_efficiency=Quantity(calibration.memory_efficiency, calibration.origin),
        call_overhead_us=Quantity(calibration.call_overhead_us, calibration.origin),
    )


def _measurement(data: dict[str, Any]) -> Measurement:
    return Measurement(**(data | {"key": MeasureKey(**data["key"])}))
