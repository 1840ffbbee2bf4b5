"""Writing a kit's files as a folder or as a tar."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# A tar's files are below one folder, so that unpacking it anywhere makes no mess.
TAR_FOLDER = "edgeweave-device"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class KitFile:
    """A file of a kit: its bytes, or where they are now."""

    source: bytes | Path
    executable: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @property
    def mode(self) -> int:
        """The permissions, whatever the umask says."""
        return 0o755 if self.executable else 0o644

    def open(self) -> io.BytesIO | io.BufferedReader:
        """The bytes, to be read."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def digest(self) -> str:
        """SHA-256 of the bytes."""
        with self.open() as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def write_folder(files: Mapping[str, KitFile], folder: Path) -> None:
    """Write the files below a new folder, each flushed to the disk."""
    folder.mkdir()
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with file.open() as content, path.open("xb") as sink:
            shutil.copyfileobj(content, sink, _CHUNK)
            sink.flush()
            os.fsync(sink.fileno())
        path.chmod(file.mode)


def write_tar(files: Mapping[str, KitFile], archive: Path) -> None:
    """Write the files as a tar whose bytes depend on nothing but their names and content."""
    with archive.open("xb") as sink:
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, file in files.items():
                member = tarfile.TarInfo(f"{TAR_FOLDER}/{name}")  # owner 0, time 0
                member.mode = file.mode
                member.size = file.size
                with file.open() as content:
                    tar.addfile(member, content)
        sink.flush()
        os.fsync(sink.fileno())
