"""Sending a bundle's files to a device: only those it lacks, by SHA-256, and from where it stopped.

The device keeps what it was sent between sessions, parts of files included, so an upload that was
cut short goes on where it ended when it is asked for again in a new session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edgeweave.runtime.errors import BundleError
from edgeweave.targets.devices.faults import DeviceFailure
from edgeweave.targets.devices.reply import MalformedReplyError, Part

if TYPE_CHECKING:
    from edgeweave.targets.devices.session import Session

MISSING = "edgeweave.device.missing"
PUT = "edgeweave.device.put"
CHUNK = 1 << 20  # bytes of one call
_LIMIT_S = 60.0  # for one call: a chunk needs 17 kB/s, and the device may hash a file at its end

# (bytes sent so far, bytes to send)
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class File:
    """A file for the device: its content by SHA-256 in hex, its size in bytes, where it lies."""

    sha256: str
    size: int
    path: Path


@dataclass(frozen=True)
class Upload:
    """What an upload did. ``files`` and ``nbytes`` are all that the device needs.

    ``present_files`` counts those it had whole before, ``sent_files`` those it has whole since, and
    ``sent_bytes`` what really travelled: of a file that it had a part of, only the rest.
    """

    files: int
    nbytes: int
    present_files: int
    sent_files: int
    sent_bytes: int


class Uploader:
    """Brings files to a device, over as many sessions as it takes."""

    def __init__(self, files: Sequence[File], progress: Progress | None = None) -> None:
        # equal content is one file
        self._files = tuple({file.sha256: file for file in files}.values())
        self._progress = progress or (lambda _done, _total: None)
        self._present: set[str] | None = None
        self._sent: set[str] = set()
        self._sent_bytes = 0

    @property
    def result(self) -> Upload | None:
        """What was done so far; None before the device was asked what it has."""
        return None if self._present is None else self._upload(self._present)

    def run(self, session: Session) -> Upload:
        """Send what the device lacks; raises the fault that ended it, and may be called again."""
        parts = self._ask_missing(session)
        there = {file.sha256 for file in self._files} - parts.keys()
        if self._present is None:
            self._present = there
        self._sent |= there - self._present
        missing = [file for file in self._files if file.sha256 in parts]
        total = self._sent_bytes + sum(file.size - parts[file.sha256] for file in missing)
        for file in missing:
            self._send(session, file, parts[file.sha256], total)
            self._sent.add(file.sha256)
        return self._upload(self._present)

    def _upload(self, present: set[str]) -> Upload:
        nbytes = sum(file.size for file in self._files)
        return Upload(len(self._files), nbytes, len(present), len(self._sent), self._sent_bytes)

    def _ask_missing(self, session: Session) -> dict[str, int]:
        """SHA-256 of each file that the device does not have whole -> the bytes it has of it."""
        wanted = [{"sha256": file.sha256, "size": file.size} for file in self._files]
        reply = session.ask(MISSING, {"files": wanted}, limit_s=_LIMIT_S)
        try:
            missing = Part(MISSING, reply)["missing"].items()
            found = {entry["sha256"].text(): entry["have"].count() for entry in missing}
        except MalformedReplyError as error:
            raise DeviceFailure(session.subject, str(error)) from error
        sizes = {file.sha256: file.size for file in self._files}
        for digest, have in found.items():
            if have > sizes.get(digest, -1):
                reason = f"{MISSING} names {digest[:12]} with {have} bytes, which it was not told"
                raise DeviceFailure(session.subject, reason)
        return found

    def _send(self, session: Session, file: File, offset: int, total: int) -> None:
        with file.path.open("rb") as source:
            source.seek(offset)
            while True:  # once even for an empty file: the device then makes it
                data = source.read(min(CHUNK, file.size - offset))
                request = {"sha256": file.sha256, "size": file.size, "offset": offset}
                reply = session.ask(PUT, request, data, limit_s=_LIMIT_S)
                offset += len(data)
                if reply.get("have") != offset:
                    reason = f"{PUT} says that it has {reply.get('have')} bytes, not {offset}"
                    raise DeviceFailure(session.subject, reason)
                self._sent_bytes += len(data)
                self._progress(self._sent_bytes, total)
                if offset >= file.size:
                    return
                if not data:
                    raise BundleError(str(file.path), f"ends before its {file.size} bytes")
