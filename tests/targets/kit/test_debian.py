"""The root and the qemu of an emulated device: found, refused, downloaded once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgeweave.targets.kit.architectures import find_architecture, host_architecture
from edgeweave.targets.kit.debian import _link_merged, _take_qemu, find_qemu, find_root
from edgeweave.targets.kit.elf import read_machine
from edgeweave.targets.kit.errors import KitError

AARCH64 = find_architecture("aarch64")


def test_a_given_root_is_taken_as_it_is(libraries, tmp_path, say, told_of) -> None:
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    loader = libraries("aarch64", "ld.so") / "ld.so"
    (root / AARCH64.loader).symlink_to(loader)
    assert find_root(AARCH64, tmp_path / "cache", say, root) == root
    assert told_of == []


def test_a_given_root_must_have_the_loader_of_the_architecture(libraries, tmp_path, say) -> None:
    with pytest.raises(KitError, match=r"has no lib/ld-linux-aarch64\.so\.1"):
        find_root(AARCH64, tmp_path / "cache", say, tmp_path)
    (tmp_path / "lib").mkdir()
    loader = tmp_path / AARCH64.loader
    loader.write_bytes((libraries("riscv64", "ld.so") / "ld.so").read_bytes())
    with pytest.raises(KitError, match="is for 64 bit riscv, not for aarch64"):
        find_root(AARCH64, tmp_path / "cache", say, tmp_path)
    loader.write_text("text")
    with pytest.raises(KitError, match="is no ELF file, not for aarch64"):
        find_root(AARCH64, tmp_path / "cache", say, tmp_path)


def test_the_links_of_a_merged_usr_are_made_where_packages_leave_them_out(tmp_path) -> None:
    merged, plain = tmp_path / "merged", tmp_path / "plain"
    for folder in (merged / "usr" / "lib", merged / "usr" / "lib64", plain / "usr" / "lib"):
        folder.mkdir(parents=True)
    (plain / "lib").mkdir()
    _link_merged(merged)
    _link_merged(plain)
    assert (merged / "lib").resolve() == merged / "usr" / "lib"
    assert (merged / "lib64").resolve() == merged / "usr" / "lib64"
    assert not (plain / "lib").is_symlink()
    assert not (plain / "lib64").exists()


@pytest.mark.parametrize("name", ["qemu-aarch64-static", "qemu-aarch64"])
def test_qemu_is_taken_from_path_first(name, tmp_path, say, told_of, monkeypatch) -> None:
    program = tmp_path / name
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_qemu(AARCH64, tmp_path / "cache", say) == program
    assert told_of == []


def test_without_apt_qemu_can_be_put_on_path(tmp_path, say, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KitError, match="this machine has no apt-get") as caught:
        find_qemu(AARCH64, tmp_path / "cache", say)
    assert "put qemu-aarch64-static on PATH" in caught.value.next_step


def test_a_cached_qemu_that_lacks_the_architecture_is_told(tmp_path, say, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    place = tmp_path / "qemu" / host_architecture().name
    place.mkdir(parents=True)
    with pytest.raises(KitError, match="qemu-aarch64: is not in") as caught:
        find_qemu(AARCH64, tmp_path, say)
    assert "Remove that folder" in caught.value.next_step


def test_of_a_package_the_static_program_is_taken_and_no_link_out_of_it(tmp_path) -> None:
    unpacked, folder = tmp_path / "unpacked", tmp_path / "folder"
    (unpacked / "usr" / "bin").mkdir(parents=True)
    folder.mkdir()
    (unpacked / "usr/bin/qemu-arm").write_text("new name")
    (unpacked / "usr/bin/qemu-aarch64").write_text("dynamic")
    (unpacked / "usr/bin/qemu-aarch64-static").write_text("static")
    (unpacked / "usr/bin/qemu-riscv64-static").symlink_to("/bin/sh")
    for arch in ("armv7", "aarch64", "riscv64"):
        _take_qemu(find_architecture(arch), unpacked, folder)
    assert {p.name: p.read_text() for p in folder.iterdir()} == {
        "qemu-arm": "new name",
        "qemu-aarch64": "static",
    }


@pytest.mark.emulated
def test_the_downloaded_root_is_small_and_of_the_architecture(emulation_root: Path) -> None:
    for name in ("libc.so.6", "libstdc++.so.6", "libgcc_s.so.1"):
        (library,) = {p.resolve() for p in emulation_root.rglob(name)}
        assert read_machine(library) == AARCH64.machine
    assert not (emulation_root / "usr" / "share").exists()


@pytest.mark.emulated
def test_the_downloaded_qemu_starts(aarch64_emulator) -> None:
    command = [aarch64_emulator.qemu, "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("qemu-aarch64 version")
