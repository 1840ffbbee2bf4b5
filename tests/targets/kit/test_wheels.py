"""TVM's libraries for a device: where they come from, and what is refused."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.kit.architectures import find_architecture, host_architecture
from edgeweave.targets.kit.elf import read_machine
from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.wheels import find_libraries

NAMES = {"libtvm_ffi.so", "libtvm_runtime.so", "libtvm_runtime_extra.so"}


def other_architecture() -> str:
    """One with published wheels that is not this machine's."""
    return "x86-64" if host_architecture().name == "aarch64" else "aarch64"


def test_this_machines_libraries_are_the_installed_ones(tmp_path, say, told_of) -> None:
    found = find_libraries(host_architecture(), tmp_path, say)
    assert set(found.paths) == NAMES
    assert all(str(path).startswith(sys.prefix) for path in found.paths.values())
    assert found.versions == {n: version(n) for n in ("apache-tvm-ffi", "apache-tvm")}
    assert (told_of, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("arch", ["armv7", "riscv64"])
def test_an_architecture_without_published_libraries_needs_them_given(arch, tmp_path, say) -> None:
    with pytest.raises(TargetError, match="has no published TVM runtime") as caught:
        find_libraries(find_architecture(arch), tmp_path, say)
    assert "--libraries DIR" in caught.value.next_step
    assert version("apache-tvm") in caught.value.next_step


def test_given_libraries_are_taken_with_and_without_the_extra_one(libraries, tmp_path, say) -> None:
    riscv = find_architecture("riscv64")
    folder = libraries("riscv64", "libtvm_ffi.so", "libtvm_runtime.so")
    found = find_libraries(riscv, tmp_path, say, folder)
    assert found.paths == {n: folder / n for n in ("libtvm_ffi.so", "libtvm_runtime.so")}
    libraries("riscv64", "libtvm_runtime_extra.so")
    assert set(find_libraries(riscv, tmp_path, say, folder).paths) == NAMES


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ((), "has no libtvm_ffi.so and no libtvm_runtime.so"),
        (("libtvm_ffi.so",), "has no libtvm_runtime.so"),
    ],
)
def test_a_given_folder_must_hold_both(names, missing, libraries, tmp_path, say) -> None:
    with pytest.raises(KitError, match=missing):
        find_libraries(find_architecture("riscv64"), tmp_path, say, libraries("riscv64", *names))


def test_given_libraries_must_be_of_the_architecture(libraries, tmp_path, say) -> None:
    folder = libraries("armv7", "libtvm_ffi.so", "libtvm_runtime.so")
    with pytest.raises(KitError, match="is a library for 32 bit arm, not for riscv64"):
        find_libraries(find_architecture("riscv64"), tmp_path, say, folder)
    (folder / "libtvm_ffi.so").write_text("INPUT(libtvm_ffi.so.1)")
    with pytest.raises(KitError, match="is no ELF file, not for armv7"):
        find_libraries(find_architecture("armv7"), tmp_path, say, folder)


@pytest.fixture
def no_other_index(tmp_path, monkeypatch) -> None:
    """pip knows the indexes that a test names, and no others."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")


@pytest.mark.usefixtures("no_other_index")
def test_an_index_out_of_reach_is_one_error_with_a_way_out(tmp_path, say, monkeypatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    with pytest.raises(KitError, match="the package index is out of reach") as caught:
        find_libraries(find_architecture(other_architecture()), tmp_path, say)
    assert "PIP_FIND_LINKS" in caught.value.next_step
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.usefixtures("no_other_index")
def test_an_index_without_the_version_is_told_in_pips_words(tmp_path, say, monkeypatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(KitError, match="No matching distribution found") as caught:
        find_libraries(find_architecture(other_architecture()), tmp_path, say)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_other_index")
def test_a_wheel_without_the_libraries_is_an_error(tmp_path, say, monkeypatch) -> None:
    import zipfile

    arch = find_architecture(other_architecture())
    links = tmp_path / "links"
    links.mkdir()
    tvm_ffi = version("apache-tvm-ffi")
    tag = f"py3-none-{arch.wheel_platforms[0]}"
    with zipfile.ZipFile(links / f"apache_tvm_ffi-{tvm_ffi}-{tag}.whl", "w") as wheel:
        info = f"apache_tvm_ffi-{tvm_ffi}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Name: apache-tvm-ffi\nVersion: {tvm_ffi}\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    with pytest.raises(KitError, match="is no wheel with these libraries"):
        find_libraries(arch, tmp_path / "cache", say)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_without_pip_the_error_says_how_to_get_it(tmp_path, say, monkeypatch) -> None:
    monkeypatch.setattr("edgeweave.targets.kit.wheels.find_spec", lambda _name: None)
    with pytest.raises(KitError, match="needs pip") as caught:
        find_libraries(find_architecture(other_architecture()), tmp_path, say)
    assert "ensurepip" in caught.value.next_step


@pytest.mark.emulated
def test_another_architectures_libraries_come_out_of_its_wheels(
    aarch64_kit: Path, kept_cache: Path, say, told_of
) -> None:
    arch = find_architecture("aarch64")
    found = find_libraries(arch, kept_cache / "device", say)
    assert set(found.paths) == NAMES
    assert {read_machine(path) for path in found.paths.values()} == {arch.machine}
    assert told_of == []  # from the cache: the kit needed them before
    assert (aarch64_kit / "lib" / "libtvm_ffi.so").is_file()
