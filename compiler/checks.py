"""Check every region of a model once, and remember the verdicts and the measured costs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from edgeweave.compiler.board_facts import BoardFacts, current_versions
from edgeweave.compiler.check_region import CheckResult, CheckTask, Verdict
from edgeweave.compiler.check_worker import CheckWorker
from edgeweave.compiler.code_version import code_version
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.regions import Regions
from edgeweave.compiler.timing import REPEATS
from edgeweave.compiler.verdicts import (
    CheckRecord,
    Key,
    find_verdicts,
    read_verdicts,
    record_key,
    unit_of,
    verdict_path,
)
from edgeweave.partition.prediction.json_lines import append_records
from edgeweave.partition.prediction.measurements import MeasureKey, Measurement, MeasurementStore
from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.region import Region
from edgeweave.targets.rules import find_refusal, has_estimates

REFERENCE_BACKEND = "onnxruntime"

# (regions done, regions to do, name of the next region)
Progress = Callable[[int, int, str], None]


class Checks:
    """Verdicts and measured costs of regions, kept in a folder (None: in memory).

    ``host`` is the board that describes this machine, where regions are checked and timed.
    ``board`` is what is planned for, where that is another: what its devices showed counts there.
    """

    def __init__(self, host: Board, folder: Path | None, board: Board | None = None) -> None:
        self._host = host
        self._board = board
        self._facts: BoardFacts | None = None
        self._path = verdict_path(folder) if folder else None
        self._store = MeasurementStore(folder) if folder else None
        self._records: dict[Key, CheckRecord] = {}
        self._measured: dict[MeasureKey, Measurement] = {}
        self.notes: list[str] = []
        self._load()

    def _load(self) -> None:
        if self._path is None or self._store is None:
            return
        skipped: list[str] = []
        records, cut_off = read_verdicts(self._path, skipped)
        self._records = find_verdicts(records)
        readings = self._store.read()
        self._measured = readings.latest(current_versions(readings))
        self._host = readings.calibrated(self._host)
        damaged = len(skipped) + cut_off + len(readings.skipped) + readings.cut_off
        if damaged:
            self.notes.append(f"{damaged} damaged lines of {self._path.parent} were ignored")
        if self._board is not None and not self._board.is_host:
            self._facts = BoardFacts(self._board, readings, records)
            self._board = self._facts.board
            self.notes += self._facts.notes

    @property
    def host(self) -> Board:
        """This machine's board, with the calibration that `profile` found."""
        return self._host

    @property
    def board(self) -> Board:
        """The board to plan for, with what was measured of its engines and links."""
        return self._board or self._host

    @property
    def facts(self) -> BoardFacts | None:
        """What the board's devices showed; None for this machine."""
        return self._facts

    @property
    def measured(self) -> dict[MeasureKey, float]:
        """Seconds of whole calls, by region and engine."""
        return {key: measurement.seconds for key, measurement in self._measured.items()}

    @property
    def call_s(self) -> dict[Slot, float]:
        """Seconds of a call that computes nothing, of each slot where it was measured."""
        region, board = empty_call().graph.regions[0], self._planned_board
        slots = [(e, Slot(e.name, backend)) for e in board.engines for backend in e.backends]
        found = {slot: self.measurement(region, e, slot.backend) for e, slot in slots}
        return {slot: m.seconds for slot, m in found.items() if m is not None}

    @property
    def _planned_board(self) -> Board:
        return self._host if self._facts is None else self._facts.board

    def measurement(self, region: Region, engine: Engine, backend: str) -> Measurement | None:
        """What was measured of the region on that engine of the board."""
        return self._measured.get(MeasureKey.of(region, engine, backend, self._planned_board))

    def missing(self, regions: Regions, *, timed: bool) -> list[CheckTask]:
        """What is still to be checked: each distinct region once per kind of engine."""
        return self.tasks(regions, timed=timed)

    def tasks(
        self, regions: Regions, *, timed: bool, fresh: bool = False, repeats: int = REPEATS
    ) -> list[CheckTask]:
        """Each distinct region once per kind of engine, with the backends to check it through.

        Left out is what is known; with ``fresh``, only what is known not to work.
        """
        tasks: dict[tuple[str, str, int], CheckTask] = {}
        for engine in self._host.engines:
            for region, model in zip(regions.graph.regions, regions.models, strict=True):
                backends = tuple(
                    backend
                    for backend in engine.backends
                    if self._refuse_here(region, engine, backend) is None
                    and (fresh or not self._is_known(region, engine, backend, timed=timed))
                )
                if not timed:
                    backends = tuple(name for name in backends if name != REFERENCE_BACKEND)
                if backends:
                    key = MeasureKey.of(region, engine, backends[0], self._host)
                    task = CheckTask(region, model, engine, backends, timed, repeats)
                    tasks.setdefault((key.digest, key.unit, key.threads), task)
        return list(tasks.values())

    def placed_tasks(self, regions: Regions, slots: Sequence[Slot]) -> list[CheckTask]:
        """What is still to be checked of the regions on the slots that they are placed on."""
        placed = {
            (region.digest, slot.backend)
            for region, slot in zip(regions.graph.regions, slots, strict=True)
        }
        return [
            task
            for task in self.tasks(regions, timed=False)
            if any((task.region.digest, backend) in placed for backend in task.backends)
        ]

    def vendor_tasks(self, regions: Regions) -> list[CheckTask]:
        """Each distinct region that no vendor's compiler of the planned board was given yet."""
        tasks: dict[Key, CheckTask] = {}
        for engine, backend in self._vendors:
            for region, model in zip(regions.graph.regions, regions.models, strict=True):
                key = record_key(region, engine, backend)
                if key not in self._records and find_refusal(region, engine, backend) is None:
                    tasks[key] = CheckTask(region, model, engine, (backend,), timed=False)
        return list(tasks.values())

    @property
    def _vendors(self) -> list[tuple[Engine, str]]:
        """Engines of the planned board with a vendor's compiler that is installed here."""
        return [
            (engine, name)
            for engine in self.board.engines
            for name in engine.backends
            if has_estimates(name)
        ]

    def estimate(self, region: Region, engine: Engine, backend: str) -> float | None:
        """Seconds that the vendor's compiler states for the region; None where none was asked."""
        record = self._records.get(record_key(region, engine, backend))
        return None if record is None else record.estimate_s

    def _is_known(self, region: Region, engine: Engine, backend: str, *, timed: bool) -> bool:
        record = self._records.get(record_key(region, engine, backend))
        if record is None:
            return False
        needs_time = timed and record.verdict == Verdict.EQUAL
        return (
            not needs_time or MeasureKey.of(region, engine, backend, self._host) in self._measured
        )

    def run(
        self,
        tasks: Sequence[CheckTask],
        progress: Progress | None = None,
        worker: CheckWorker | None = None,
    ) -> None:
        """Check the tasks in a process of their own; each result is kept as soon as it is there.

        ``worker`` is a process to use and to leave running, for those who check many models.
        """
        with ExitStack() as stack:
            worker = worker or stack.enter_context(CheckWorker())
            for done, task in enumerate(tasks):
                if progress:
                    progress(done, len(tasks), task.region.name)
                for result in worker.check(task):
                    self._keep(task, result)

    def _keep(self, task: CheckTask, result: CheckResult) -> None:
        versions = code_version(result.backend)
        key = MeasureKey.of(task.region, task.engine, result.backend, self._host)
        record = CheckRecord(
            task.region.digest,
            result.backend,
            unit_of(task.engine),
            versions,
            result.verdict,
            result.detail,
            estimate_s=result.estimate_s,
        )
        self._records[record.key] = record
        measurements = []
        if result.timing is not None and result.timing.seconds > 0:
            timing = result.timing
            today = datetime.now(UTC).date().isoformat()
            measured = Measurement(
                key, timing.seconds, timing.spread_s, timing.repeats, versions, today
            )
            self._measured[key] = measured
            measurements.append(measured)
        if not result.is_passing:
            self._write([record], measurements)

    def _write(self, records: Iterable[CheckRecord], measurements: Sequence[Measurement]) -> None:
        if self._path is None or self._store is None:
            return
        try:
            append_records(self._path, records)
            self._store.add(measurements)
        except EdgeweaveError as error:
            self._path = self._store = None
            warnings.warn(f"results are not kept: {error}", RuntimeWarning, stacklevel=2)

    def calibrate(self, engine: Engine) -> None:
        """Take over a calibrated engine of this machine, for this and later plans."""
        engines = tuple(engine if e.name == engine.name else e for e in self._host.engines)
        self._host = replace(self._host, engines=engines)
        if self._store is not None:
            self._store.add_calibration(self._host, engine)

    def refuse(self, region: Region, engine: Engine, backend: str) -> Refusal | None:
        """The static rules, then the verdict of a check, then what the board's devices can run.

        A verdict of a device of the board counts in place of one of this machine.
        """
        if self._facts is None:
            return self._refuse_here(region, engine, backend)
        verdict = self._facts.verdict(region, engine, backend)
        if verdict is None:
            refusal = self._refuse_here(region, engine, backend)
        else:
            refusal = find_refusal(region, engine, backend) or verdict.refusal
        return refusal or self._facts.refuse_runner(backend)

    def _refuse_here(self, region: Region, engine: Engine, backend: str) -> Refusal | None:
        refusal = find_refusal(region, engine, backend)
        if refusal is not None or backend == REFERENCE_BACKEND:
            return refusal
        record = self._find(region, engine, backend)
        return None if record is None else record.refusal

    def _find(self, region: Region, engine: Engine, backend: str) -> CheckRecord | None:
        """The verdict from any engine of this machine, whatever board is planned for.

        A vendor's compiler speaks for the one engine that it was set up for.
        """
        engines = (engine,) if has_estimates(backend) else self._host.engines
        found = (self._records.get(record_key(region, e, backend)) for e in engines)
        return next((record for record in found if record is not None), None)

    def is_checked(self, region: Region, backend: str) -> bool:
        """Whether a verdict on the backend's code for the region exists, here or of a device."""
        facts = self._facts
        if facts is not None and any(
            facts.verdict(region, engine, backend) is not None for engine in facts.board.engines
        ):
            return True
        return any(self._find(region, e, backend) is not None for e in self.board.engines)
