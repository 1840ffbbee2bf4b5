"""Packages of any architecture from the distribution's archive, without installing them.

apt runs with folders of its own below the cache, as any user: neither its lists nor what is
installed on this machine are touched. Only the archive's keys, the proxy and the like are the
machine's.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgeweave.targets.kit.apt_sources import (
    UBUNTU_PORTS,
    Distribution,
    own_sources,
    read_distribution,
    read_sources,
)
from edgeweave.targets.kit.command import run, told
from edgeweave.targets.kit.errors import KitError

_UPDATE_LIMIT_S = 300
_DOWNLOAD_LIMIT_S = 1200
_NO_NETWORK = (
    "Temporary failure resolving",
    "Could not resolve",
    "Could not connect",
    "Cannot initiate the connection",
    "Network is unreachable",
    "connection timed out",
)
# Indexes that other programs add and nothing here reads.
_OTHER_INDEXES = ("DEP-11", "DEP-11-icons", "DEP-11-icons-small", "DEP-11-icons-large", "CNF")


def read_os_release() -> Distribution:
    """This machine's distribution."""
    try:
        text = "\n".join(f"{k}={v}" for k, v in platform.freedesktop_os_release().items())
    except OSError:
        text = ""
    return read_distribution(text)


def download_packages(
    names: Sequence[str], architecture: str, folder: Path, instead: str
) -> list[Path]:
    """Download packages of a Debian architecture into a new folder; their files.

    ``instead`` is what a user can do where this fails: the next step of the KitError.
    """
    subject = f"Debian packages for {architecture}"
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            reason = f"cannot be had: this machine has no {program}"
            raise KitError(subject, reason, f"On other distributions: {instead}")
    distribution = read_os_release()
    sources = own_sources(read_sources(Path("/etc/apt")), distribution, architecture)
    if not sources:
        where = f"{distribution.name} {distribution.codename}".strip() or "this distribution"
        reason = f"cannot be had: /etc/apt names no archive of {where}"
        raise KitError(subject, reason, f"Add it, or: {instead}")
    folder = folder.absolute()  # apt takes relative paths for paths below /
    folder.mkdir(parents=True)
    (folder / "own.sources").write_text("\n".join(s.stanza() for s in sources), "utf-8")
    configuration = _configure(folder, architecture)
    updated = run(
        ["apt-get", "-q", "-c", configuration, "update"], subject, _UPDATE_LIMIT_S, _PLAIN
    )
    packages = folder / "packages"
    packages.mkdir()
    done = run(
        ["apt-get", "-q", "-c", configuration, "download", *names],
        subject,
        _DOWNLOAD_LIMIT_S,
        _PLAIN,
        packages,
    )
    if done.returncode:  # a source that failed in the update matters only now
        said = updated.stdout + updated.stderr + done.stdout + done.stderr
        raise _download_error(subject, said, distribution, architecture, instead)
    return sorted(packages.glob("*.deb"))


_PLAIN = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def _configure(folder: Path, architecture: str) -> Path:
    """An apt configuration whose every folder is below ``folder``."""
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / "state" / "status").touch()
    (folder / "own.sources").rename(folder / "parts" / "own.sources")
    lines = [
        f'Dir::State "{folder}/state";',
        f'Dir::State::status "{folder}/state/status";',
        f'Dir::Cache "{folder}/cache";',
        'Dir::Etc::SourceList "/dev/null";',
        f'Dir::Etc::SourceParts "{folder}/parts";',
        "#clear APT::Architectures;",
        f'APT::Architecture "{architecture}";',
        f'APT::Architectures {{ "{architecture}"; }};',
        # root fetches as root: apt's own user may not read these folders
        *(['APT::Sandbox::User "root";'] if os.geteuid() == 0 else []),
        'Acquire::Languages "none";',
        'Acquire::Retries "2";',
        'Acquire::http::Timeout "60";',
        'Acquire::https::Timeout "60";',
        *(f'Acquire::IndexTargets::deb::{i}::DefaultEnabled "false";' for i in _OTHER_INDEXES),
        # what the machine does after an update of its own
        "#clear APT::Update::Pre-Invoke;",
        "#clear APT::Update::Post-Invoke;",
        "#clear APT::Update::Post-Invoke-Success;",
    ]
    path = folder / "apt.conf"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _download_error(
    subject: str, said: str, distribution: Distribution, architecture: str, instead: str
) -> KitError:
    if any(mark in said for mark in _NO_NETWORK):
        reason = "cannot be downloaded: the archive is out of reach"
        if distribution.name == "ubuntu" and UBUNTU_PORTS in said:
            reason += f" (Ubuntu keeps {architecture} on {UBUNTU_PORTS})"
        return KitError(subject, reason, f"Connect this machine, or: {instead}")
    reason = f"cannot be downloaded (apt: {told(said, ('E: ',), 2)})"
    return KitError(subject, reason, f"Otherwise: {instead}")


def unpack_package(package: Path, folder: Path) -> None:
    """Unpack the files of a package below a folder, which is made."""
    done = run(["dpkg-deb", "-x", package, folder], package.name, 300, _PLAIN)
    if done.returncode:
        raise KitError(package.name, f"cannot be unpacked ({told(done.stderr, ('error',))})")
