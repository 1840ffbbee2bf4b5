"""The kit: what is in it, that it is whole, and when it is made anew."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.kit.architectures import find_architecture, host_architecture
from edgeweave.targets.kit.build import build_kit, cached_kit
from edgeweave.targets.kit.elf import read_machine
from edgeweave.targets.kit.errors import KitError

LIBRARIES = ("libtvm_ffi.so", "libtvm_runtime.so", "libtvm_runtime_extra.so")


def check_kit(kit: Path, arch: str) -> None:
    """The kit holds what it lists, each with its digest, for the architecture."""
    data = json.loads((kit / "device.json").read_text())
    found = find_architecture(arch)
    assert (data["format"], data["arch"], data["triple"]) == (1, found.name, found.triple)
    assert data["versions"] == {
        name: version(name) for name in ("edgeweave", "apache-tvm", "apache-tvm-ffi")
    }
    files = {str(p.relative_to(kit)) for p in kit.rglob("*") if p.is_file()}
    assert files == {*data["files"], "device.json"}
    for name, digest in data["files"].items():
        assert hashlib.sha256((kit / name).read_bytes()).hexdigest() == digest
    assert files == {
        *(f"lib/{name}" for name in LIBRARIES),
        *("bin/edgeweave-device", "edgeweave-device", "README", "device.json"),
    }
    for name in ("bin/edgeweave-device", *(f"lib/{name}" for name in LIBRARIES)):
        assert read_machine(kit / name) == found.machine
    assert (kit / "bin/edgeweave-device").stat().st_mode & 0o777 == 0o755
    assert found.triple in (kit / "README").read_text()


@pytest.mark.slow
def test_the_kit_for_this_machine_is_whole(native_kit: Path) -> None:
    check_kit(native_kit, host_architecture().name)


@pytest.mark.slow
@pytest.mark.emulated
def test_the_kit_for_another_architecture_is_whole(aarch64_kit: Path) -> None:
    check_kit(aarch64_kit, "aarch64")


@pytest.mark.slow
def test_the_launcher_finds_its_program_through_links_and_odd_names(
    native_kit: Path, tmp_path: Path
) -> None:
    """And the program finds its libraries: it is started from nowhere near them."""
    odd = tmp_path / "a kit, moved"
    odd.symlink_to(native_kit)
    link = tmp_path / "device"
    link.symlink_to(odd / "edgeweave-device")
    done = subprocess.run(
        [link, "--version"], capture_output=True, text=True, timeout=60, check=False, cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert version("edgeweave") in done.stdout


@pytest.mark.slow
def test_a_kit_that_was_made_is_taken_from_the_cache(native_kit, kept_cache, say, told_of) -> None:
    kit = cached_kit(host_architecture(), kept_cache / "device", say)
    assert (kit.path, told_of) == (native_kit, [])
    sizes = (p.stat().st_size for p in native_kit.rglob("*") if p.is_file())
    assert kit.nbytes == sum(sizes)


@pytest.mark.slow
def test_a_kit_is_written_as_a_folder_and_as_a_tar(native_kit, kept_cache, say, tmp_path) -> None:
    for name in ("kit", "kit.tar"):
        kit = build_kit(host_architecture(), tmp_path / name, kept_cache / "device", say)
        assert kit.path == tmp_path / name
    check_kit(tmp_path / "kit", host_architecture().name)
    with tarfile.open(tmp_path / "kit.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    check_kit(tmp_path / "unpacked" / "edgeweave-device", host_architecture().name)


def test_the_place_is_looked_at_before_anything_is_made(tmp_path, say, told_of) -> None:
    (tmp_path / "kit").write_text("mine")
    with pytest.raises(KitError, match="exists and is a file"):
        build_kit(find_architecture("aarch64"), tmp_path / "kit", tmp_path / "cache", say)
    assert told_of == []
    assert [p.name for p in tmp_path.iterdir()] == ["kit"]


def test_an_architecture_without_a_runtime_is_refused(tmp_path, say) -> None:
    with pytest.raises(TargetError, match="has no published TVM runtime"):
        build_kit(find_architecture("riscv64"), tmp_path / "kit", tmp_path / "cache", say)
    assert list(tmp_path.iterdir()) == []
