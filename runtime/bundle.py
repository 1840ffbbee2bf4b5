"""Opening a bundle: nothing in it is used before all of it has been checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import MANIFEST_NAME, FileEntry, Manifest, StageEntry
from edgeweave.runtime.manifest_check import DIGEST_NAME
from edgeweave.runtime.manifest_json import DAMAGED, decode_manifest
from edgeweave.runtime.unpack import unpack

MANIFEST_LIMIT = 64 << 20  # bytes; a manifest of 10,000 values is below 2 MiB


class Bundle(AbstractContextManager["Bundle"]):
    """An open bundle whose every file has the size and SHA-256 that its manifest states.

    ``path`` is what was opened, ``root`` the directory that holds the files. Closing removes what
    was unpacked; a bundle that is a directory is left as it is.
    """

    def __init__(self, path: Path, root: Path, manifest: Manifest, unpacked: Path | None) -> None:
        self.path = path
        self.root = root
        self.manifest = manifest
        self._unpacked = unpacked

    def stage_folder(self, stage: StageEntry) -> Path:
        """The folder with the files of a stage."""
        return self.root / stage.folder

    @property
    def reference(self) -> Path | None:
        """The original model, or None when the bundle was packed without it."""
        return None if self.manifest.reference is None else self.root / self.manifest.reference

    def close(self) -> None:
        """Remove what was unpacked; may be called more than once."""
        if self._unpacked is not None:
            shutil.rmtree(self._unpacked, ignore_errors=True)
            self._unpacked = None

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_bundle(path: Path) -> Bundle:
    """Open a bundle (a directory, or a ``.tar``) and check all of it; raises BundleError."""
    if not path.exists():
        raise BundleError(str(path), "does not exist", "Check the path")
    if path.is_dir():
        return Bundle(path, path, _check_directory(path, str(path)), None)
    unpacked = Path(tempfile.mkdtemp(prefix="edgeweave-bundle-"))
    try:
        unpack(path, unpacked)
        manifest = _check_directory(unpacked, str(path))
    except BaseException:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    return Bundle(path, unpacked, manifest, unpacked)


def read_manifest(root: Path, shown: str) -> Manifest:
    """The manifest of an unpacked bundle, checked against ``manifest.sha256``.

    ``shown`` is the bundle's name in errors. The other files are not looked at.
    """
    for name in (MANIFEST_NAME, DIGEST_NAME):
        if not (root / name).is_file() or (root / name).is_symlink():
            raise BundleError(shown, f"holds no {name}, so it is no bundle", "Check the path")
    try:
        if (root / MANIFEST_NAME).stat().st_size > MANIFEST_LIMIT:
            raise BundleError(shown, f"{MANIFEST_NAME} is over {MANIFEST_LIMIT} bytes", DAMAGED)
        data = (root / MANIFEST_NAME).read_bytes()
        with (root / DIGEST_NAME).open("rb") as file:
            digest = file.read(1024)
    except OSError as error:
        raise BundleError(shown, f"cannot be read ({error.strerror})", "Check it") from error
    if digest != manifest_digest(data):
        raise BundleError(shown, f"{MANIFEST_NAME} was changed after packing", DAMAGED)
    return decode_manifest(data)


def manifest_digest(manifest: bytes) -> bytes:
    """The content of ``manifest.sha256``, in the form that ``sha256sum --check`` reads."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST_NAME}\n".encode()


def _check_directory(root: Path, shown: str) -> Manifest:
    present = files_below(root, shown)
    manifest = read_manifest(root, shown)
    listed = {entry.path for entry in manifest.files}
    extra = sorted(present - listed - {MANIFEST_NAME, DIGEST_NAME})
    if extra:
        raise BundleError(
            shown,
            f"holds {extra[0]!r}, which its manifest does not list",
            "Move it out of the bundle, or pack the model again",
        )
    for entry in manifest.files:
        if entry.path not in present:
            raise BundleError(shown, f"file {entry.path!r} is missing", DAMAGED)
        _check_file(root / entry.path, entry, shown)
    return manifest


def files_below(root: Path, shown: str) -> set[str]:
    """Relative POSIX paths of all files; BundleError for links, devices and other odd entries."""
    found: set[str] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise BundleError(
                str(folder), f"cannot be read ({error.strerror})", "Check it"
            ) from error
        for entry in entries:
            relative = Path(entry.path).relative_to(root).as_posix()
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                pending.append(Path(entry.path))
            elif stat.S_ISREG(mode):
                found.add(relative)
            else:
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
                raise BundleError(shown, f"{relative!r} is {kind}", "Replace it by a plain file")
    return found


def _check_file(path: Path, entry: FileEntry, shown: str) -> None:
    try:
        size = path.stat().st_size
        if size != entry.size:
            raise BundleError(
                shown, f"file {entry.path!r} has {size} bytes and must have {entry.size}", DAMAGED
            )
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(str(path), f"cannot be read ({error.strerror})", "Check it") from error
    if digest != entry.sha256:
        raise BundleError(shown, f"file {entry.path!r} was changed after packing", DAMAGED)
