"""Putting a kit where the user wants it: whole or not at all, and over nothing but an older kit."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.write import TAR_FOLDER, KitFile, write_folder, write_tar

MANIFEST_NAME = "device.json"
_OTHER_PLACE = "Remove it, or choose another name"


def publish(files: Mapping[str, KitFile], destination: Path) -> None:
    """Write the kit beside ``destination`` and move it there; an older kit is replaced whole.

    KitError when it cannot be written; what was at ``destination`` is there as before then.
    """
    check_place(destination)
    target = Path(os.path.realpath(destination))
    workspace = None
    try:
        workspace = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.", dir=target.parent))
        unfinished = workspace / "new"
        if target.suffix == ".tar":
            write_tar(files, unfinished)
        else:
            write_folder(files, unfinished)
        _replace(unfinished, target, workspace / "old")
    except OSError as error:
        raise KitError(
            str(destination),
            f"cannot be written ({error.strerror or error})",
            "Free some space, check the permissions, or write the kit elsewhere",
        ) from error
    finally:
        if workspace is not None:
            shutil.rmtree(workspace, ignore_errors=True)


def check_place(destination: Path) -> None:
    """KitError unless a kit may go there: nothing is there, or nothing but an older kit."""
    target = Path(os.path.realpath(destination))
    shown = str(destination)
    if not target.parent.is_dir():
        raise KitError(shown, f"there is no folder {target.parent}", "Make it first")
    if not target.exists():
        return
    wants_tar = target.suffix == ".tar"
    if target.is_dir() == wants_tar:
        kind = "a directory" if wants_tar else "a file"
        raise KitError(shown, f"exists and is {kind}", _OTHER_PLACE)
    try:
        strange = _strange_in_tar(target) if wants_tar else _strange_in_folder(target)
    except OSError as error:
        strange = f"cannot be read ({error.strerror or error})"
    if strange:
        raise KitError(shown, f"exists and {strange}", _OTHER_PLACE)


def _strange_in_folder(folder: Path) -> str | None:
    """What speaks against replacing a folder: anything in it that no kit put there."""
    present = {str(p.relative_to(folder)) for p in _leaves(folder)}
    if not present:
        return None
    try:
        data = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))
        listed = set(data["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"is no kit: it has no readable {MANIFEST_NAME}"
    others = present - listed - {MANIFEST_NAME}
    return f"holds {min(others)!r}, which is not part of a kit" if others else None


def _leaves(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _strange_in_tar(file: Path) -> str | None:
    try:
        with tarfile.open(file, mode="r:") as tar:
            names = {member.name for member in tar}
    except (tarfile.TarError, ValueError, OverflowError) as error:
        return f"is no kit ({error})"
    if f"{TAR_FOLDER}/{MANIFEST_NAME}" in names:
        return None
    return f"is a tar without {TAR_FOLDER}/{MANIFEST_NAME}"


def _replace(unfinished: Path, target: Path, retired: Path) -> None:
    """Move the new kit to its place; a directory that stands there is set aside first."""
    if not target.is_dir():
        unfinished.replace(target)  # atomic, over an older file too
        return
    target.replace(retired)
    try:
        unfinished.replace(target)
    except BaseException:
        retired.replace(target)
        raise
