"""Packages of another architecture, without installing them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeweave.targets.kit.apt_sources import UBUNTU_PORTS, Distribution
from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.packages import (
    _download_error,
    download_packages,
    read_os_release,
    unpack_package,
)

needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None and os.environ.get("CI") != "true",
    reason="this machine has no apt",
)


def test_without_apt_there_is_a_way_out(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KitError, match="this machine has no apt-get") as caught:
        download_packages(["libc6"], "arm64", tmp_path / "x", "give --root DIR")
    assert caught.value.next_step == "On other distributions: give --root DIR"
    assert not (tmp_path / "x").exists()


@needs_apt
def test_a_machine_whose_archive_is_unknown_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        "edgeweave.targets.kit.packages.read_os_release", lambda: Distribution("mine", "one")
    )
    with pytest.raises(KitError, match="names no archive of mine one"):
        download_packages(["libc6"], "arm64", tmp_path / "x", "give --root DIR")


def test_a_machine_that_does_not_say_what_it_is(monkeypatch) -> None:
    def fail() -> dict[str, str]:
        raise OSError("no file")

    monkeypatch.setattr("platform.freedesktop_os_release", fail)
    assert read_os_release() == Distribution("", "")


@needs_apt
@pytest.mark.slow
def test_an_archive_out_of_reach_is_one_error(tmp_path, monkeypatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(KitError, match="the archive is out of reach") as caught:
        download_packages(["libc6"], "arm64", tmp_path / "x", "give --root DIR")
    assert caught.value.next_step == "Connect this machine, or: give --root DIR"


def test_ubuntus_other_server_is_named_when_it_is_out_of_reach() -> None:
    said = f"Err:1 {UBUNTU_PORTS} noble InRelease\n  Could not connect to ports.ubuntu.com"
    ubuntu, debian = Distribution("ubuntu", "noble"), Distribution("debian", "bookworm")
    error = _download_error("packages", said, ubuntu, "arm64", "x")
    assert f"Ubuntu keeps arm64 on {UBUNTU_PORTS}" in error.reason
    assert "Ubuntu" not in _download_error("packages", said, debian, "arm64", "x").reason


@needs_apt
@pytest.mark.emulated
@pytest.mark.usefixtures("aarch64_emulator")  # the network is there
def test_a_package_that_does_not_exist_is_told_in_apts_words(tmp_path) -> None:
    before = sorted(Path("/var/lib/apt/lists").glob("*"))
    with pytest.raises(KitError, match="Unable to locate package no-such-package"):
        download_packages(["no-such-package"], "arm64", tmp_path / "x", "give --root DIR")
    assert sorted(Path("/var/lib/apt/lists").glob("*")) == before


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one file, made here."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("this machine has no dpkg-deb")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: me <a@b>\nDescription: a\n"
    (tree / "DEBIAN" / "control").write_text(control)
    (tree / "usr").mkdir()
    (tree / "usr" / "file").write_text("content")
    built = tmp_path / "a.deb"
    subprocess.run(["dpkg-deb", "--build", tree, built], check=True, capture_output=True)
    return built


def test_a_package_is_unpacked_without_installing_it(package: Path, tmp_path: Path) -> None:
    unpack_package(package, tmp_path / "root")
    assert (tmp_path / "root" / "usr" / "file").read_text() == "content"


def test_a_damaged_package_is_an_error_with_its_name(package: Path, tmp_path: Path) -> None:
    package.write_bytes(package.read_bytes()[:60])
    with pytest.raises(KitError, match=r"^a\.deb: cannot be unpacked"):
        unpack_package(package, tmp_path / "root")
