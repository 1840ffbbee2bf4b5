"""The folder for what can be measured or made again."""

from __future__ import annotations

import os
import warnings
from pathlib import Path


def cache_dir() -> Path:
    """Where edgeweave caches: EDGEWEAVE_CACHE_DIR, else the user's cache folder. Not created.

    Follows the XDG base directory specification: XDG_CACHE_HOME counts only when absolute.
    """
    own = os.environ.get("EDGEWEAVE_CACHE_DIR")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if Path(base).is_absolute() else Path.home() / ".cache") / "edgeweave"


def open_cache() -> Path | None:
    """The cache folder, made when missing; None, with a warning, where it cannot be written."""
    try:
        folder = cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory is known
        _warn(str(error))
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        _warn(f"{folder} is not writable")
        return None
    return folder


def _warn(reason: str) -> None:
    message = f"working without a cache: {reason}. Set EDGEWEAVE_CACHE_DIR to a writable folder"
    warnings.warn(message, RuntimeWarning, stacklevel=3)
