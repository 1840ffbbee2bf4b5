"""Writing what a backend made of a stage into the folder of its artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeweave.targets.errors import BuildError


def write_files(stage: str, folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name into ``folder``, made when missing; raises BuildError about the stage."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise BuildError(
            stage,
            f"{error.filename or folder} cannot be written ({error.strerror})",
            "Free some space there, or set TMPDIR to another disk",
        ) from error
