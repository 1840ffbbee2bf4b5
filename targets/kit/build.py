"""The kit: the folder, or tar, that is copied to a device and started there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeweave.targets.kit.architectures import Architecture
from edgeweave.targets.kit.publish import MANIFEST_NAME, check_place, publish
from edgeweave.targets.kit.storage import kept
from edgeweave.targets.kit.wheels import FFI_NAME, Libraries, find_libraries
from edgeweave.targets.kit.write import KitFile, write_folder
from edgeweave.targets.kit.zig import PROGRAM_NAME, Program, Say, build_program

FORMAT = 1

_LAUNCHER = f"""#!/bin/sh
# Starts the device program from wherever this folder is; --help lists its options.
here=$(CDPATH= cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd) || exit 1
exec "$here/bin/{PROGRAM_NAME}" "$@"
"""

_README = """edgeweave-device for {shown} ({triple}, glibc {glibc} or newer)

Copy this folder to the device; it needs the C and C++ libraries (libc6, libstdc++6, libgcc-s1 in
Debian's words) and nothing else: no Python, no compiler.

    ./edgeweave-device --listen 0.0.0.0 --port 9090 --secret-file SECRET

waits for `edgeweave deploy` and `edgeweave profile`. In a rack of devices it also registers at a
tracker, which runs on any machine (python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port 9190):

    ./edgeweave-device --listen 0.0.0.0 --secret-file SECRET --tracker HOST:9190 --key KEY

Whoever reaches the port can run code on the device. SECRET is a file with a secret of your own
(openssl rand -hex 32 >SECRET), the same on the device and where edgeweave runs; do without it only
where everyone is trusted.
./edgeweave-device --help lists all options. It ends on SIGTERM and leaves no process behind.
"""


@dataclass(frozen=True)
class Kit:
    """A kit on the disk; ``nbytes`` is the size of its files."""

    path: Path
    architecture: str
    versions: dict[str, str]
    nbytes: int


def build_kit(
    architecture: Architecture,
    destination: Path,
    cache: Path,
    say: Say,
    libraries: Path | None = None,
) -> Kit:
    """Make the kit at ``destination``, a folder or a ``.tar``; replaces an older kit whole.

    ``libraries`` is a folder with TVM's runtime for an architecture without published wheels.
    KitError when it cannot be made, or when something else is at ``destination``.
    """
    check_place(destination)
    parts = _make_parts(architecture, cache, say, libraries)
    publish(parts.files, destination)
    return parts.kit(destination)


def cached_kit(
    architecture: Architecture, cache: Path, say: Say, libraries: Path | None = None
) -> Kit:
    """The kit as a folder in the cache, made when it is not there; it is not to be changed."""
    parts = _make_parts(architecture, cache, say, libraries)
    place = cache / "kits" / f"{architecture.name}-{parts.digest[:24]}"
    if not place.is_dir():
        with kept(place) as unfinished:
            write_folder(parts.files, unfinished)
    return parts.kit(place)


@dataclass(frozen=True)
class _Parts:
    architecture: Architecture
    versions: dict[str, str]
    files: Mapping[str, KitFile]
    digest: str

    def kit(self, path: Path) -> Kit:
        nbytes = sum(file.size for file in self.files.values())
        return Kit(path, self.architecture.name, self.versions, nbytes)


def _make_parts(architecture: Architecture, cache: Path, say: Say, given: Path | None) -> _Parts:
    """Everything that goes into the kit; the manifest's digest stands for all of it."""
    libraries = find_libraries(architecture, cache, say, given)
    program = build_program(architecture, libraries.paths[FFI_NAME], cache, say)
    files = _content(architecture, libraries, program)
    versions = {"edgeweave": version("edgeweave"), **libraries.versions}
    manifest = _manifest(architecture, versions, files)
    files[MANIFEST_NAME] = KitFile(manifest)
    return _Parts(architecture, versions, files, hashlib.sha256(manifest).hexdigest())


def _content(
    architecture: Architecture, libraries: Libraries, program: Program
) -> dict[str, KitFile]:
    readme = _README.format(
        shown=architecture, triple=architecture.triple, glibc=architecture.glibc
    )
    return {
        PROGRAM_NAME: KitFile(_LAUNCHER.encode(), executable=True),
        f"bin/{PROGRAM_NAME}": KitFile(program.path, executable=True),
        **{f"lib/{name}": KitFile(path) for name, path in sorted(libraries.paths.items())},
        "README": KitFile(readme.encode()),
    }


def _manifest(
    architecture: Architecture, versions: dict[str, str], files: Mapping[str, KitFile]
) -> bytes:
    data: dict[str, Any] = {
        "format": FORMAT,
        "arch": architecture.name,
        "triple": architecture.triple,
        "versions": versions,
        "files": {path: file.digest() for path, file in sorted(files.items())},
    }
    return f"{json.dumps(data, indent=1)}\n".encode()
