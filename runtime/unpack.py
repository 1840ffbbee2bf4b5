"""Unpacking a bundle's tar: plain files only, each at a safe path, none twice."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest_check import path_fault

_UNSAFE = "Do not use it; get the bundle from where it was made"
_DAMAGED = "Copy the bundle again, or pack the model again"
_CHUNK = 1 << 20


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an uncompressed tar into an empty folder.

    BundleError for anything but plain files and directories, for a path that escapes or occurs
    twice, and for a tar that is damaged or ends early. Never writes more than the tar is large.
    """
    try:
        total = archive.stat().st_size
        with tarfile.open(archive, mode="r:") as tar:
            seen: set[str] = set()
            for member in tar:
                _unpack_member(tar, member, folder, seen, total, str(archive))
    except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
        # the last three are what tarfile lets through when a header field is nonsense
        raise BundleError(str(archive), f"is no readable tar ({error})", _DAMAGED) from error
    except OSError as error:
        raise BundleError(
            str(archive),
            f"cannot be unpacked into {folder.parent} ({error.strerror or error})",
            "Free some space there, or set TMPDIR to a larger disk",
        ) from error


def _unpack_member(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    folder: Path,
    seen: set[str],
    total: int,
    shown: str,
) -> None:
    # "./x" is how a bundle that was unpacked and packed again by hand names its files
    name = PurePosixPath(member.name).as_posix()
    if member.isdir() and name == ".":
        return
    fault = path_fault(name)
    if fault:
        raise BundleError(shown, f"member {member.name!r} {fault}", _UNSAFE)
    if member.isdir():
        return
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise BundleError(shown, f"member {name!r} is a link, device or sparse file", _UNSAFE)
    if name in seen:
        raise BundleError(shown, f"member {name!r} occurs twice", _UNSAFE)
    seen.add(name)
    if not 0 <= member.size <= total:
        raise BundleError(
            shown, f"member {name!r} claims {member.size} bytes in a tar of {total}", _DAMAGED
        )
    _write(tar.extractfile(member), folder / name, member.size, shown)


def _write(source: IO[bytes] | None, target: Path, size: int, shown: str) -> None:
    if source is None:
        raise BundleError(shown, f"member {target.name!r} has no content", _DAMAGED)
    if any(parent.is_file() for parent in target.parents) or target.is_dir():
        raise BundleError(shown, f"member {target.name!r} is both file and folder", _UNSAFE)
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("xb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)
        if sink.tell() != size:
            raise BundleError(shown, f"ends inside member {target.name!r}", _DAMAGED)
