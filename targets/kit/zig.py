"""The device program, compiled from its C++ sources for any architecture by the zig toolchain."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from edgeweave.targets.kit.architectures import Architecture
from edgeweave.targets.kit.command import run, told
from edgeweave.targets.kit.elf import read_machine
from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.storage import kept

PROGRAM_NAME = "edgeweave-device"
# The C++ library is compiled once for each architecture, which takes minutes on a slow machine.
_LIMIT_S = 1200
_DISK_FULL = ("NoSpaceLeft", "No space left on device", "DiskQuota")
_FLAGS = (
    "-std=c++17",
    "-O2",
    "-s",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ldl",
    "-lpthread",
    "-Wl,-rpath,$ORIGIN/../lib",
)

Say = Callable[[str, str], None]  # what is being done, with what


@dataclass(frozen=True)
class Program:
    """A compiled program; equal digests are equal programs."""

    path: Path
    digest: str


def daemon_sources() -> tuple[Path, ...]:
    """The C++ files of the device program, and their headers."""
    folder = Path(str(files("edgeweave.runtime"))) / "device"
    found = sorted(folder.glob("*.cc")) + sorted(folder.glob("*.h"))
    if not any(path.suffix == ".cc" for path in found):
        raise KitError(str(folder), "holds no C++ source", "Install edgeweave again")
    return tuple(found)


def build_program(
    architecture: Architecture,
    ffi_library: Path,
    cache: Path,
    say: Say,
    sources: Sequence[Path] | None = None,
) -> Program:
    """The device program for an architecture, from the cache or compiled now.

    ``ffi_library`` is the libtvm_ffi.so of that architecture to link with. Raises KitError with
    the first lines of what the compiler has to say.
    """
    sources = daemon_sources() if sources is None else tuple(sources)
    subject = f"the device program for {architecture}"
    headers = _tvm_headers()
    command = [
        "c++",
        "-target",
        architecture.zig_target,
        *_FLAGS,
        # as system headers, so that our warnings are about our code
        "-isystem",
        headers,
        *(path for path in sources if path.suffix == ".cc"),
        f"-L{ffi_library.parent}",
        "-ltvm_ffi",
    ]
    digest = _digest(architecture, sources, ffi_library)
    place = cache / "programs" / f"{architecture.name}-{digest}"
    if place.is_file():
        return Program(place, digest)
    say("compiling", f"{subject} (the first time for an architecture takes a minute or more)")
    with kept(place) as unfinished:
        _compile(subject, [*command, "-o", unfinished], cache / "zig")
        machine = read_machine(unfinished)
        if machine != architecture.machine:
            raise KitError(subject, f"zig made it for {machine}", "Report it")
    return Program(place, digest)


def _compile(subject: str, command: Sequence[object], zig_cache: Path) -> None:
    if find_spec("ziglang") is None:
        raise KitError(subject, "needs ziglang, which is not installed", "pip install ziglang")
    zig_cache.mkdir(parents=True, exist_ok=True)
    done = run(
        [sys.executable, "-m", "ziglang", *command],
        subject,
        _LIMIT_S,
        {"ZIG_GLOBAL_CACHE_DIR": str(zig_cache), "ZIG_LOCAL_CACHE_DIR": str(zig_cache)},
    )
    if done.returncode:
        full = any(mark in done.stderr for mark in _DISK_FULL)
        raise KitError(
            subject,
            f"cannot be compiled ({told(done.stderr, ('error:',))})",
            f"Free some space at {zig_cache}" if full else "Report it with this message",
        )


def _tvm_headers() -> Path:
    spec = find_spec("tvm_ffi")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (Path(folder) / "include" / "tvm" / "ffi").is_dir():
            return Path(folder) / "include"
    raise KitError("TVM's headers", "are not installed", "pip install apache-tvm-ffi")


def _digest(architecture: Architecture, sources: Sequence[Path], ffi_library: Path) -> str:
    """Of all that decides what the compiler makes."""
    try:
        tools = f"ziglang {version('ziglang')}, apache-tvm-ffi {version('apache-tvm-ffi')}"
    except PackageNotFoundError as error:
        name = str(error.name)
        raise KitError(name, "is not installed", f"pip install {name}") from error
    digest = hashlib.sha256(f"{tools}, {architecture.zig_target}, {_FLAGS}\n".encode())
    for path in (*sources, ffi_library):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:24]
