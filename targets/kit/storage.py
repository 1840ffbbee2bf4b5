"""Where kits, packages and programs are kept between runs, and how a file or folder gets there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeweave.targets.cache import open_cache
from edgeweave.targets.kit.errors import KitError


def device_cache() -> Path:
    """The folder for all that has to do with devices; KitError where there is no cache."""
    cache = open_cache()
    if cache is None:
        raise KitError(
            "the cache", "cannot be written", "Set EDGEWEAVE_CACHE_DIR to a writable folder"
        )
    return cache.absolute() / "device"


@contextmanager
def kept(place: Path) -> Iterator[Path]:
    """Give a path to write a file or a folder to, and move it to ``place`` at the end.

    Nothing is seen at ``place`` before it is whole. When another process was faster, its result
    stays: both made the same. An OSError becomes a KitError.
    """
    workspace = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix=f".{place.name[:40]}.", dir=place.parent))
        unfinished = workspace / "new"
        yield unfinished
        if not place.exists():
            _move(unfinished, place)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        next_step = "Free some space, or set EDGEWEAVE_CACHE_DIR to another folder"
        raise KitError(str(place), reason, next_step) from error
    finally:
        if workspace is not None:
            shutil.rmtree(workspace, ignore_errors=True)


def _move(unfinished: Path, place: Path) -> None:
    try:
        unfinished.rename(place)
    except OSError:
        if not place.exists():  # else another process has just put the same there
            raise
