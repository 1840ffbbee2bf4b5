"""Verdicts on disk: what building and running a region alone showed, here or on a device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeweave.compiler.check_region import Verdict
from edgeweave.compiler.code_version import code_version
from edgeweave.partition.prediction.json_lines import append_records, read_records
from edgeweave.partition.prediction.profiled import Forgotten, remembered, with_forgotten
from edgeweave.partition.prediction.provenance import DeviceStamp, stamp_from
from edgeweave.targets.backend import Refusal
from edgeweave.targets.board import Engine
from edgeweave.targets.region import Region

# digest, backend, what computes
Key = tuple[str, str, str]


@dataclass(frozen=True)
class CheckRecord:
    """A verdict. ``unit`` is LLVM's name of the CPU the region was run on, or the settings of the
    vendor's compiler that it was built with; ``estimate_s`` is what that compiler says it takes.

    ``board`` is the identity of the board that a device was profiled for, and ``date`` an ISO date;
    both are "", and ``device`` is None, for a verdict from this machine.
    """

    digest: str
    backend: str
    unit: str
    versions: str
    verdict: str
    detail: str
    board: str = ""
    date: str = ""
    device: DeviceStamp | None = None
    estimate_s: float | None = None

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> CheckRecord:
        """The record as a store holds it."""
        return cls(**(data | {"device": stamp_from(data)}))

    @property
    def key(self) -> Key:
        """What it is a verdict on."""
        return self.digest, self.backend, self.unit

    @property
    def sentence(self) -> str:
        """Why the region is refused, and which device says so."""
        start = {
            Verdict.DIFFERENT: "its code differs from ONNX Runtime",
            Verdict.UNBUILDABLE: "it cannot be built",
            Verdict.UNVERIFIED: "its code could not be compared with ONNX Runtime",
            Verdict.CRASHED: "its code crashed or hung when it was tried",
        }
        where = ""
        if self.device is not None:
            emulated = ", emulated" if self.device.is_emulated else ""
            where = f" (on {self.device.name}{emulated}, {self.date})"
        return f"{start[Verdict(self.verdict)]}: {self.detail}{where}"

    @property
    def refusal(self) -> Refusal | None:
        """The refusal that follows; None when the outputs were ONNX Runtime's."""
        if self.verdict == Verdict.EQUAL:
            return None
        return Refusal(f"checked.{self.verdict}", self.sentence)


def verdict_path(folder: Path) -> Path:
    """The file of a store that holds verdicts."""
    return folder / "checks.jsonl"


def read_verdicts(path: Path, skipped: list[str]) -> tuple[list[CheckRecord], int]:
    """The verdicts on today's code, oldest first, and the number of unfinished last lines."""
    lines, cut_off = read_records(path, with_forgotten(CheckRecord.of_json), skipped)
    kept = remembered(lines, lambda record: record.board)
    return [record for record in kept if record.versions == code_version(record.backend)], cut_off


def forget_verdicts(path: Path, board: str) -> None:
    """Take back the verdicts of devices of the board with that identity."""
    if path.exists():
        append_records(path, [Forgotten(board)])


def record_key(region: Region, engine: Engine, backend: str) -> Key:
    """What a verdict on the region's code for that engine is kept under."""
    return region.digest, backend, unit_of(engine)


def unit_of(engine: Engine) -> str:
    """What computes: LLVM's name of a CPU, a vendor's settings, or the name of another engine."""
    settings = " ".join(f"{key}={engine.vendor[key]}" for key in sorted(engine.vendor))
    return str(engine.llvm_target.get("mcpu", settings or engine.name))


def find_verdicts(records: Iterable[CheckRecord], board: str = "") -> dict[Key, CheckRecord]:
    """The latest verdicts of that board's devices; without a board, of this machine.

    What a real device showed counts more than what an emulated one did, whichever came last.
    """
    found: dict[Key, CheckRecord] = {}
    for record in records:
        if record.board != board:
            continue
        before = found.get(record.key)
        if before is None or _is_real(record) or not _is_real(before):
            found[record.key] = record
    return found


def _is_real(record: CheckRecord) -> bool:
    return record.device is None or not record.device.is_emulated
