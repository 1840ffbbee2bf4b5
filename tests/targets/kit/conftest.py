"""Stand-ins for what takes long to make: libraries that are nothing but their header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeweave.targets.kit.architectures import Architecture, find_architecture
from edgeweave.targets.kit.write import KitFile


def elf_header(architecture: Architecture) -> bytes:
    """The first bytes of a library for that architecture."""
    machine = architecture.machine
    ident = b"\x7fELF" + bytes([machine.bits // 32, 1, 1]) + bytes(9)
    return ident + (3).to_bytes(2, "little") + machine.number.to_bytes(2, "little") + bytes(44)


@pytest.fixture
def libraries(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with libraries of these names that are for an architecture."""

    def make(arch: str, *names: str) -> Path:
        folder = tmp_path / f"libraries-{arch}"
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_bytes(elf_header(find_architecture(arch)))
        return folder

    return make


@pytest.fixture
def kit_files() -> dict[str, KitFile]:
    """The files of a kit that is as small as can be."""
    manifest = b'{"format": 1, "arch": "aarch64", "files": {"bin/edgeweave-device": "00"}}'
    return {
        "bin/edgeweave-device": KitFile(b"#!/bin/sh\n", executable=True),
        "device.json": KitFile(manifest),
    }


def silent(_doing: str, _what: str) -> None:
    """Narration that nobody reads."""


@pytest.fixture
def told_of() -> list[str]:
    """What a narration said so far; ``told_of.append`` is no narration: see ``say``."""
    return []


@pytest.fixture
def say(told_of: list[str]) -> Callable[[str, str], None]:
    """Narration that is kept in ``told_of``."""
    return lambda doing, what: told_of.append(f"{doing} {what}")
