"""The machine of an ELF file, from its first bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeweave.targets.kit.architectures import host_architecture
from edgeweave.targets.kit.elf import ElfMachine, read_machine


def header(machine: int, bits: int = 64, order: str = "little") -> bytes:
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2, 1]) + bytes(9)
    return ident + (3).to_bytes(2, order) + machine.to_bytes(2, order)


def test_the_running_python_is_of_this_machine() -> None:
    assert read_machine(Path(sys.executable)) == host_architecture().machine


@pytest.mark.parametrize(
    ("content", "machine", "shown"),
    [
        (header(183), ElfMachine(183, 64), "64 bit aarch64"),
        (header(40, 32), ElfMachine(40, 32), "32 bit arm"),
        (header(243), ElfMachine(243, 64), "64 bit riscv"),
        (header(62), ElfMachine(62, 64), "64 bit x86_64"),
        (header(183, 64, "big"), ElfMachine(183, 64, "big"), "64 bit aarch64 (big endian)"),
        (header(22), ElfMachine(22, 64), "64 bit ELF machine 22"),
    ],
)
def test_machine_width_and_byte_order_are_read(
    content: bytes, machine: ElfMachine, shown: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content + bytes(100))
    assert read_machine(path) == machine
    assert str(machine) == shown


@pytest.mark.parametrize(
    "content",
    [b"", b"\x7fELF", header(62)[:19], b"#!/bin/sh\necho a long enough script", b"MZ" + bytes(60)],
)
def test_what_is_no_elf_file_has_no_machine(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read_machine(path) is None


@pytest.mark.parametrize("place", [4, 5])
def test_a_nonsensical_class_or_byte_order_has_no_machine(place: int, tmp_path: Path) -> None:
    content = bytearray(header(62))
    content[place] = 3
    (tmp_path / "file").write_bytes(content)
    assert read_machine(tmp_path / "file") is None
