"""Files of JSON lines: append-only, safe against crashes, shared between processes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from edgeweave.partition.errors import PartitionError

_Record = TypeVar("_Record")


def append_records(path: Path, records: Iterable[Any]) -> None:
    """Write dataclasses as lines, in one go under a lock, after what a crash left unfinished."""
    text = "".join(json.dumps(asdict(record)) + "\n" for record in records)
    if not text:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                text = "\n" + text
            file.write(text.encode())
    except OSError as error:
        raise PartitionError(
            str(path), f"cannot be written: {error.strerror}", "Choose a writable folder"
        ) from error


def read_records(
    path: Path, parse: Callable[[dict[str, Any]], _Record], skipped: list[str]
) -> tuple[list[_Record], int]:
    """The records of the file and the number of unfinished last lines (0 or 1)."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise PartitionError(str(path), f"cannot be read: {error.strerror}") from error
    *lines, rest = content.split(b"\n")
    records: list[_Record] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = parse(json.loads(line))
            hash(record)  # an array where a name belongs would fail later, as a key
            records.append(record)
        except (ValueError, TypeError, KeyError, AttributeError, PartitionError) as error:
            skipped.append(f"{path.name}:{number}: {error}")
    return records, 1 if rest else 0
