"""What emulating a device takes besides its kit: a minimal root of its architecture, and qemu."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeweave.targets.kit.architectures import (
    ARCHITECTURES,
    Architecture,
    host_architecture,
)
from edgeweave.targets.kit.elf import read_machine
from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.packages import download_packages, read_os_release, unpack_package
from edgeweave.targets.kit.storage import kept
from edgeweave.targets.kit.zig import Say

# What TVM's runtime is linked with.
_ROOT_PACKAGES = ("libc6", "libgcc-s1", "libstdc++6")
# Newer releases have the static programs in qemu-user, and only links in the other.
_QEMU_PACKAGES = ("qemu-user-static", "qemu-user")


def find_root(architecture: Architecture, cache: Path, say: Say, given: Path | None = None) -> Path:
    """A folder with the C and C++ libraries of an architecture: given, cached or downloaded.

    Raises KitError when the given one is none, or when none can be had.
    """
    if given is not None:
        _check_root(architecture, given)
        return given
    distribution = read_os_release()
    release = f"{distribution.name or 'unknown'}-{distribution.codename or 'unknown'}"
    place = cache / "roots" / f"{release}-{architecture.debian}"
    if not place.is_dir():
        say("downloading", f"{', '.join(_ROOT_PACKAGES)} for {architecture}")
        instead = f"give --root DIR with the C and C++ libraries of {architecture}"
        with kept(place) as unfinished:
            apt = unfinished.with_name("apt")
            packages = download_packages(_ROOT_PACKAGES, architecture.debian, apt, instead)
            for package in packages:
                unpack_package(package, unfinished)
            shutil.rmtree(unfinished / "usr" / "share", ignore_errors=True)
            _link_merged(unfinished)
            _check_root(architecture, unfinished)
    return place


def _link_merged(root: Path) -> None:
    """Where packages hold /usr/lib alone, /lib is a link that the base system brings."""
    for name in ("lib", "lib64"):
        if (root / "usr" / name).is_dir() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")


def _check_root(architecture: Architecture, root: Path) -> None:
    loader = root / architecture.loader
    try:
        machine = read_machine(loader)
    except OSError:
        raise KitError(
            str(root),
            f"is no root of {architecture}: it has no {architecture.loader}",
            "Give the folder that holds lib and usr of such a system",
        ) from None
    if machine != architecture.machine:
        found = f"is for {machine}" if machine else "is no ELF file"
        raise KitError(
            str(loader), f"{found}, not for {architecture}", "Give a root of that architecture"
        )


def find_qemu(architecture: Architecture, cache: Path, say: Say) -> Path:
    """qemu's user-mode program for an architecture: on PATH, cached or downloaded.

    Raises KitError when it cannot be had.
    """
    names = (f"qemu-{architecture.qemu}-static", f"qemu-{architecture.qemu}")
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    host = host_architecture()
    place = cache / "qemu" / host.name
    if not place.is_dir():
        instead = f"put {names[0]} on PATH (it is in {' or '.join(_QEMU_PACKAGES)})"
        say("downloading", f"{_QEMU_PACKAGES[0]} for this machine (60 MB)")
        with kept(place) as unfinished:
            _fetch_qemu(host, unfinished, instead)
    program = place / names[1]
    if not program.is_file():
        raise KitError(names[1], f"is not in {place}", "Remove that folder and run it again")
    return program


def _fetch_qemu(host: Architecture, folder: Path, instead: str) -> None:
    """Put the programs for all architectures that a device may have into a new folder."""
    folder.mkdir()
    failure: KitError | None = None
    for package in _QEMU_PACKAGES:
        work = folder.with_name(package)
        try:
            (file,) = download_packages([package], host.debian, work, instead)
        except KitError as error:
            failure = failure or error
            continue
        unpack_package(file, work / "unpacked")
        for architecture in ARCHITECTURES:
            _take_qemu(architecture, work / "unpacked", folder)
        if any(folder.iterdir()):
            return
    raise failure or KitError("qemu", f"is in none of {', '.join(_QEMU_PACKAGES)}", instead)


def _take_qemu(architecture: Architecture, unpacked: Path, folder: Path) -> None:
    name = f"qemu-{architecture.qemu}"
    for found in (unpacked / "usr/bin" / f"{name}-static", unpacked / "usr/bin" / name):
        # a link may lead out of the package, to a program of this machine
        if found.is_file() and found.resolve().is_relative_to(unpacked.resolve()):
            shutil.copy2(found, folder / name)
            return
