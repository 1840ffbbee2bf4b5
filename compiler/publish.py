"""Writing a bundle beside its destination and moving it there whole."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgeweave.compiler.errors import CompileError
from edgeweave.runtime.bundle import files_below, read_manifest
from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import MANIFEST_NAME
from edgeweave.runtime.manifest_check import DIGEST_NAME

_CHUNK = 1 << 20
_NEXT_STEP = "Free some space, check the permissions, or write the bundle elsewhere"


@contextmanager
def published(destination: Path) -> Iterator[Path]:
    """Give a path to write to; move what was written to ``destination`` at the end.

    On any failure what was written is removed, and an older bundle at ``destination`` stays as it
    was. An OSError becomes a CompileError.
    """
    with _workspace(destination) as (workspace, target):
        unfinished = workspace / "new"
        yield unfinished
        _sync(workspace)
        _replace(unfinished, target, workspace / "old")
        _sync(target.parent)


def check_destination(destination: Path) -> None:
    """Raise the CompileError that publishing there now would end in, and leave no trace."""
    with _workspace(destination):
        pass


@contextmanager
def _workspace(destination: Path) -> Iterator[tuple[Path, Path]]:
    """A folder beside the destination that is removed at the end, and where links lead to."""
    target = Path(os.path.realpath(destination))
    workspace = None
    try:
        _check_destination(target, destination)
        workspace = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.", dir=target.parent))
        yield workspace, target
    except OSError as error:
        raise _unwritable(destination, error) from error
    finally:
        if workspace is not None:
            shutil.rmtree(workspace, ignore_errors=True)


def _unwritable(destination: Path, error: OSError) -> CompileError:
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError) and error.filename:
        reason += f": {error.filename}"
    return CompileError(str(destination), f"cannot be written ({reason})", _NEXT_STEP)


def _check_destination(target: Path, shown: Path) -> None:
    """CompileError unless the place is free, or holds nothing but an older bundle."""
    if not target.parent.is_dir():
        raise CompileError(str(shown), f"there is no folder {target.parent}", "Make it first")
    if not target.exists():
        return
    wants_tar = target.suffix == ".tar"
    if target.is_dir() == wants_tar:
        kind = "a directory" if wants_tar else "a file"
        raise CompileError(str(shown), f"exists and is {kind}", "Remove it, or choose another name")
    strange = _strange_in_tar(target) if wants_tar else _strange_in_folder(target)
    if strange:
        raise CompileError(str(shown), f"exists and {strange}", "Remove it, or choose another name")


def _strange_in_folder(folder: Path) -> str | None:
    """What speaks against replacing a folder: anything in it that no bundle put there."""
    if not any(folder.iterdir()):
        return None
    try:
        manifest = read_manifest(folder, str(folder))
        present = files_below(folder, str(folder))
    except BundleError as error:
        return f"is no bundle ({error.reason})"
    others = present - {entry.path for entry in manifest.files} - {MANIFEST_NAME, DIGEST_NAME}
    return f"holds {min(others)!r}, which is not part of a bundle" if others else None


def _strange_in_tar(file: Path) -> str | None:
    try:
        with tarfile.open(file, mode="r:") as tar:
            names = {member.name for member in tar}
    except (tarfile.TarError, ValueError, OverflowError) as error:
        return f"is no bundle ({error})"
    if {MANIFEST_NAME, DIGEST_NAME} <= names:
        return None
    return f"is a tar without {MANIFEST_NAME}"


def _replace(unfinished: Path, target: Path, retired: Path) -> None:
    """Move the new bundle to its place; a directory that stands there is set aside first."""
    if not target.is_dir():
        unfinished.replace(target)  # atomic, over an older file too
        return
    target.replace(retired)
    try:
        unfinished.replace(target)
    except BaseException:
        retired.replace(target)
        raise


def write_folder(files: Mapping[str, bytes | Path], folder: Path) -> None:
    """Write the files below a new folder, each flushed to the disk."""
    folder.mkdir()
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(source) as content, path.open("xb") as sink:
            shutil.copyfileobj(content, sink, _CHUNK)
            _flush(sink)
    for parent in {(folder / name).parent for name in files} | {folder}:
        _sync(parent)


def write_tar(files: Mapping[str, bytes | Path], archive: Path) -> None:
    """Write the files as a tar whose bytes depend on nothing but their names and content."""
    with archive.open("xb") as sink:
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, source in files.items():
                member = tarfile.TarInfo(name)  # owner 0, time 0
                member.mode = 0o644
                with _opened(source) as content:
                    member.size = content.seek(0, io.SEEK_END)
                    content.seek(0)
                    tar.addfile(member, content)
        _flush(sink)


def _opened(source: bytes | Path) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _flush(sink: IO[bytes]) -> None:
    sink.flush()
    os.fsync(sink.fileno())


def _sync(folder: Path) -> None:
    """Flush a directory's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
