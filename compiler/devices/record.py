"""What a profile of devices found, written to the store as soon as it is there."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edgeweave.compiler.check_region import Verdict
from edgeweave.compiler.code_version import code_version
from edgeweave.compiler.devices.links import LinkResult
from edgeweave.compiler.devices.regions import BACKEND, DeviceRegion, Unbuilt
from edgeweave.compiler.devices.timing import Lost, Timed
from edgeweave.compiler.verdicts import CheckRecord, Key, record_key, verdict_path
from edgeweave.partition.prediction.json_lines import append_records
from edgeweave.partition.prediction.measurements import MeasureKey, Measurement, MeasurementStore
from edgeweave.partition.prediction.profiled import ProfiledDevice
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.partition.prediction.soundness import Fault
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.region import Region


@dataclass(frozen=True)
class Refused:
    """A region that a plan will not place on an engine, since its code is not to be trusted."""

    region: Region
    engine: Engine
    verdict: Verdict
    detail: str
    device: DeviceStamp | None


@dataclass(frozen=True)
class Broken:
    """Regions that were timed while the device did not behave; their times are not kept."""

    device: DeviceStamp
    engine: Engine
    regions: tuple[Region, ...]
    faults: tuple[Fault, ...]


@dataclass
class Findings:
    """All that was found so far; ``measurements`` and ``links`` are what was kept."""

    measurements: dict[MeasureKey, Measurement] = field(default_factory=dict)
    unsteady: list[Measurement] = field(default_factory=list)
    links: list[LinkResult] = field(default_factory=list)
    refused: dict[Key, Refused] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)


class Recorder:
    """Keeps what several devices find, each thing as soon as it is found.

    ``folder`` None keeps it for this profile only. Raises PartitionError where it cannot be
    written.
    """

    def __init__(self, board: Board, folder: Path | None) -> None:
        self.board = board
        self.found = Findings()
        self.date = datetime.now(UTC).date().isoformat()
        self._store = None if folder is None else MeasurementStore(folder)
        self._verdicts = None if folder is None else verdict_path(folder)
        self._versions = code_version(BACKEND)
        self._turn = threading.Lock()

    def device(self, stamp: DeviceStamp, runners: Iterable[str]) -> None:
        """A device that is profiled, and what it can run."""
        with self._turn:
            if self._store is not None:
                known = ProfiledDevice(self.board.identity, stamp, tuple(runners), self.date)
                self._store.add_device(known)

    def verdict(
        self,
        found: DeviceRegion | Unbuilt,
        verdict: Verdict,
        detail: str,
        device: DeviceStamp | None,
    ) -> None:
        """What a region's code showed; without a device, before there was any."""
        region, engine = found.region, found.engine
        digest, backend, unit = record_key(region, engine, BACKEND)
        record = CheckRecord(
            digest,
            backend,
            unit,
            self._versions,
            verdict,
            detail,
            self.board.identity,
            self.date,
            device,
        )
        with self._turn:
            if verdict is not Verdict.EQUAL:
                self.found.refused[record.key] = Refused(region, engine, verdict, detail, device)
            if self._verdicts is not None:
                append_records(self._verdicts, [record])

    def times(self, timed: Timed | Lost, device: DeviceStamp) -> None:
        """Regions that were timed, or the one that ended its session meanwhile."""
        if isinstance(timed, Lost):
            self.verdict(timed.region, Verdict.CRASHED, f"while timed: {timed.reason}", device)
            return
        first = timed.regions[0]
        with self._turn:
            if timed.faults:
                regions = tuple(each.region for each in timed.regions)
                self.found.broken.append(Broken(timed.device, first.engine, regions, timed.faults))
                return
            new = [self._measurement(region, timed) for region in timed.regions]
            self.found.measurements |= {measured.key: measured for measured in new}
            self.found.unsteady += [
                measured
                for measured, region in zip(new, timed.regions, strict=True)
                if timed.summaries[region.name].is_unsteady
            ]
            if self._store is not None:
                self._store.add(new)

    def _measurement(self, region: DeviceRegion, timed: Timed) -> Measurement:
        summary = timed.summaries[region.name]
        return Measurement(
            key=MeasureKey.of(region.region, region.engine, BACKEND, self.board),
            seconds=summary.seconds,
            spread_s=summary.spread_s,
            repeats=summary.repeats,
            versions=self._versions,
            date=self.date,
            outliers=summary.outliers,
            device=timed.device,
        )

    def link(self, result: LinkResult) -> None:
        """A link that was measured; kept unless something speaks against it."""
        with self._turn:
            self.found.links.append(result)
            if self._store is not None and not result.fault:
                self._store.add_links([result.link])

    def calibration(self, engine: Engine, device: DeviceStamp) -> None:
        """An engine that was fitted to what was measured."""
        with self._turn:
            if self._store is not None:
                self._store.add_calibration(self.board, engine, device, self.date)
