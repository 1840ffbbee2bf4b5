"""What Vela made before, in memory and on disk: a network is estimated many times while planning.

An entry on disk is one file, ``ethos-u/<key>.vela`` in the cache folder: the SHA-256 of the rest in
hex, the report as a line of JSON, the compiled model. A damaged one counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeweave.targets.cache import open_cache

_FOLDER = "ethos-u"
_MEMORY_BYTES = 256 * 2**20
_DISK_BYTES = 2**31


@dataclass(frozen=True)
class Compiled:
    """What Vela made of a model: the model with its commands, the report, and what it said."""

    model: bytes
    report: Mapping[str, Any]


class Memo:
    """Compiled models by key; the least recently used go first where they are too many.

    ``memory_bytes`` and ``disk_bytes`` limit the models that are kept in this process and in the
    cache folder.
    """

    def __init__(self, memory_bytes: int = _MEMORY_BYTES, disk_bytes: int = _DISK_BYTES) -> None:
        self._memory_bytes, self._disk_bytes = memory_bytes, disk_bytes
        self._entries: OrderedDict[str, Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: str) -> Compiled | None:
        """What is kept under the key, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
                return found
        folder = open_cache()
        found = None if folder is None else _read(folder / _FOLDER / f"{key}.vela")
        if found is not None:
            self._remember(key, found)
        return found

    def keep(self, key: str, compiled: Compiled) -> None:
        """Keep it for this process and, where there is a cache folder, for others."""
        self._remember(key, compiled)
        folder = open_cache()
        if folder is None:
            return
        try:
            _write(folder / _FOLDER / f"{key}.vela", compiled)
            _prune(folder / _FOLDER, self._disk_bytes)
        except OSError as error:
            message = f"what Vela compiled is not cached: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def forget(self) -> None:
        """Empty the memory of this process; the disk keeps what it has."""
        with self._lock:
            self._entries.clear()

    def _remember(self, key: str, compiled: Compiled) -> None:
        with self._lock:
            self._entries[key] = compiled
            self._entries.move_to_end(key)
            while sum(len(e.model) for e in self._entries.values()) > self._memory_bytes:
                self._entries.popitem(last=False)


def memo_key(blob: bytes, *parts: str) -> str:
    """SHA-256 in hex of the model and of all else that the result depends on."""
    digest = hashlib.sha256()
    for part in (*(text.encode() for text in parts), blob):
        digest.update(f"{len(part)}:".encode() + part)
    return digest.hexdigest()


def _read(path: Path) -> Compiled | None:
    try:
        digest, report_and_model = path.read_bytes().split(b"\n", 1)
        if hashlib.sha256(report_and_model).hexdigest().encode() != digest:
            return None
        report, model = report_and_model.split(b"\n", 1)
        os.utime(path)  # used just now
        return Compiled(model, json.loads(report))
    except (OSError, ValueError):
        return None


def _write(path: Path, compiled: Compiled) -> None:
    """Write beside the file and rename, so that a reader never sees half of it."""
    content = json.dumps(compiled.report).encode() + b"\n" + compiled.model
    path.parent.mkdir(exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _prune(folder: Path, limit: int) -> None:
    """Remove the entries that were not used for longest until the rest is within the limit.

    Other processes may do the same at once, so a file may be gone by the time it is looked at.
    """
    entries = []
    for path in folder.iterdir():
        try:
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
        except FileNotFoundError:
            continue
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size
