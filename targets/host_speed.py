"""Measurements of this machine that its board needs: memory bandwidth and thread hand-over."""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeweave.targets.hand_over import handover_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REPEATS = 5
_FORMAT = 2


@dataclass(frozen=True)
class HostSpeed:
    """What was measured, and how.

    ``copy_gb_s`` maps a number of threads to the bytes copied per second, each byte counted once
    (a copy reads and writes it, so the memory moves twice as many). ``handover_us`` is the time
    from the end of a stage to the start of its reader on another engine. ``clock_ghz`` freezes a
    clock that the kernel reports as it varies.
    """

    copy_gb_s: dict[int, float]
    handover_us: float
    clock_ghz: float
    buffer_mib: int
    repeats: int
    date: str


def measure_host(
    thread_counts: set[int], cache_mib: float, memory_kib: int, clock_ghz: float
) -> HostSpeed:
    """Measure copies of buffers larger than the last cache, and hand-over; takes about a second."""
    buffer_mib = int(min(max(64, 3 * cache_mib), 256, max(8, memory_kib / 1024 / 16)))
    return HostSpeed(
        copy_gb_s={n: _copy_gb_s(n, buffer_mib) for n in sorted(thread_counts)},
        handover_us=handover_seconds() * 1e6,
        clock_ghz=clock_ghz,
        buffer_mib=buffer_mib,
        repeats=_REPEATS,
        date=date.today().isoformat(),
    )


def cached_speed(
    path: Path | None,
    thread_counts: set[int],
    measure: Callable[[], HostSpeed],
    refresh: bool = False,
) -> HostSpeed:
    """What the file at ``path`` holds, if whole and for those threads; else measured and kept."""
    found = _load(path) if path and not refresh else None
    if found is not None and thread_counts <= set(found.copy_gb_s):
        return found
    speed = measure()
    if path:
        _save(path, speed)
    return speed


def _load(path: Path) -> HostSpeed | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != _FORMAT:
            return None
        data["copy_gb_s"] = {int(n): float(v) for n, v in data["copy_gb_s"].items()}
        speed = HostSpeed(**data)
        numbers = [*speed.copy_gb_s.values(), speed.handover_us, speed.clock_ghz]
        good = bool(speed.copy_gb_s) and all(0 < float(n) < math.inf for n in numbers)
        dated = isinstance(speed.date, str) and isinstance(speed.buffer_mib, int)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # a damaged cache is measured anew
    return speed if good and dated else None


def _save(path: Path, speed: HostSpeed) -> None:
    """Write beside the file and rename, so that a reader never sees half of it."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"format": _FORMAT} | asdict(speed), file)
        os.replace(temporary, path)  # noqa: PTH105 - both names are in one folder
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        message = f"the measured speed of this machine is not cached: {error}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def _copy_gb_s(threads: int, buffer_mib: int) -> float:
    """Bytes copied per second by so many threads together, in 10^9; best of several."""
    import numpy as np

    size = buffer_mib * 2**20 // threads
    pairs = [(np.ones(size, np.uint8), np.zeros(size, np.uint8)) for _ in range(threads)]
    best = min(_time_copies(pairs) for _ in range(_REPEATS))
    return threads * size / best / 1e9


def _time_copies(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    """Seconds from the common start until the last copy ends; numpy copies without the GIL."""
    import numpy as np

    barrier = threading.Barrier(len(pairs))
    spans: list[tuple[float, float]] = []

    def copy(source: NDArray[Any], target: NDArray[Any]) -> None:
        barrier.wait()
        begin = time.perf_counter()
        np.copyto(target, source)
        spans.append((begin, time.perf_counter()))

    workers = [threading.Thread(target=copy, args=pair) for pair in pairs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(end for _, end in spans) - min(begin for begin, _ in spans)
