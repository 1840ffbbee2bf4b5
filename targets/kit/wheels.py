"""TVM's runtime libraries for a device: installed here, out of published wheels, or given."""

from __future__ import annotations

import shutil
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from edgeweave.runtime.machine import machine_architecture
from edgeweave.targets.errors import TargetError
from edgeweave.targets.kit.architectures import Architecture
from edgeweave.targets.kit.command import run, told
from edgeweave.targets.kit.elf import read_machine
from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.storage import kept
from edgeweave.targets.kit.zig import Say

FFI_NAME = "libtvm_ffi.so"
RUNTIME_NAME = "libtvm_runtime.so"
EXTRA_NAME = "libtvm_runtime_extra.so"
# Which distribution holds which library, and where in it.
_MEMBERS = {
    "apache-tvm-ffi": (f"tvm_ffi/lib/{FFI_NAME}",),
    "apache-tvm": (f"tvm/lib/{RUNTIME_NAME}", f"tvm/lib/{EXTRA_NAME}"),
}
_LIMIT_S = 1800  # the wheel of apache-tvm is of 100 MB
# The wheels differ from Python to Python in a module that no device needs.
_PYTHON = "3.11"
_NO_NETWORK = (
    "name resolution",
    "Name or service not known",
    "Failed to establish a new connection",
    "Network is unreachable",
    "ProxyError",
    "ConnectTimeout",
)


@dataclass(frozen=True)
class Libraries:
    """The shared libraries by name, and the versions of what they are of."""

    paths: dict[str, Path]
    versions: dict[str, str]


def find_libraries(
    architecture: Architecture, cache: Path, say: Say, given: Path | None = None
) -> Libraries:
    """TVM's runtime for an architecture, in the versions that are installed here.

    ``given`` is a folder that holds the libraries. Raises TargetError where none are published and
    none are given, KitError when they cannot be had.
    """
    versions = {name: _installed(name).version for name in _MEMBERS}
    if given is not None:
        paths = _from_folder(given)
    elif architecture.name == machine_architecture():
        paths = _from_installation()
    elif not architecture.wheel_platforms:
        raise TargetError(
            f"architecture {architecture}",
            "has no published TVM runtime",
            f"Build {FFI_NAME} and {RUNTIME_NAME} of TVM {versions['apache-tvm']} for it, and give "
            "their folder with --libraries DIR",
        )
    else:
        paths = _from_wheels(architecture, versions, cache, say)
    _check_machines(architecture, paths)
    return Libraries(paths, versions)


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise KitError(name, "is not installed", f"pip install {name}") from error


def _from_installation() -> dict[str, Path]:
    paths = {}
    for name, members in _MEMBERS.items():
        for member in members:
            path = Path(str(_installed(name).locate_file(member)))
            if not path.is_file():
                raise KitError(str(path), "is missing", f"pip install --force-reinstall {name}")
            paths[path.name] = path
    return paths


def _from_folder(folder: Path) -> dict[str, Path]:
    """The extra library holds what few stages use; a runtime built by hand may have it inside."""
    paths = {name: folder / name for name in (FFI_NAME, RUNTIME_NAME, EXTRA_NAME)}
    missing = [name for name in (FFI_NAME, RUNTIME_NAME) if not paths[name].is_file()]
    if missing:
        raise KitError(
            str(folder), f"has no {' and no '.join(missing)}", "Give a folder that holds both"
        )
    return {name: path for name, path in paths.items() if path.is_file()}


def _check_machines(architecture: Architecture, paths: dict[str, Path]) -> None:
    for path in paths.values():
        try:
            machine = read_machine(path)
        except OSError as error:
            raise KitError(str(path), f"cannot be read ({error.strerror or error})") from error
        if machine != architecture.machine:
            found = f"a library for {machine}" if machine else "no ELF file"
            raise KitError(
                str(path), f"is {found}, not for {architecture}", "Give the one of the device"
            )


def _from_wheels(
    architecture: Architecture, versions: dict[str, str], cache: Path, say: Say
) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for name, members in _MEMBERS.items():
        place = cache / "libraries" / f"{name}-{versions[name]}-{architecture.name}"
        if not place.is_dir():
            say("downloading", f"{name} {versions[name]} for {architecture}")
            with kept(place) as unfinished:
                _fetch(f"{name}=={versions[name]}", members, architecture, unfinished)
        paths |= {Path(member).name: place / Path(member).name for member in members}
    return paths


def _fetch(
    requirement: str, members: tuple[str, ...], architecture: Architecture, folder: Path
) -> None:
    """Download a wheel and unpack only those members into a new folder."""
    subject = f"{requirement} for {architecture}"
    if find_spec("pip") is None:
        raise KitError(
            subject, "needs pip to be downloaded", f"{sys.executable} -m ensurepip, or --libraries"
        )
    wheels = folder.with_name("wheels")
    platforms = [word for tag in architecture.wheel_platforms for word in ("--platform", tag)]
    done = run(
        [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--no-input", "--disable-pip-version-check", "--python-version", _PYTHON),
            *("--implementation", "cp", "--dest", wheels),
            *platforms,
            requirement,
        ],
        subject,
        _LIMIT_S,
    )
    if done.returncode:
        raise _download_error(subject, done.stdout + done.stderr)
    (wheel,) = wheels.glob("*.whl")
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                with archive.open(member) as source, (folder / Path(member).name).open("xb") as to:
                    shutil.copyfileobj(source, to)
    except (zipfile.BadZipFile, KeyError) as error:
        raise KitError(subject, f"is no wheel with these libraries ({error})") from error
    shutil.rmtree(wheels)


def _download_error(subject: str, said: str) -> KitError:
    if any(mark in said for mark in _NO_NETWORK):
        return KitError(
            subject,
            "cannot be downloaded: the package index is out of reach",
            "Connect this machine, or fetch the wheels elsewhere and set PIP_FIND_LINKS to their "
            "folder",
        )
    return KitError(
        subject,
        f"cannot be downloaded (pip: {told(said, ('ERROR:',), 2)})",
        "Check pip's configuration: pip config list",
    )
