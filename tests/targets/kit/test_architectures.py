"""The table of architectures: one entry under all its names."""

from __future__ import annotations

import platform

import pytest

from edgeweave.runtime.machine import triple_architecture
from edgeweave.targets.errors import TargetError
from edgeweave.targets.kit.architectures import (
    ARCHITECTURES,
    find_architecture,
    host_architecture,
)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("aarch64", "aarch64"),
        ("ARM64", "aarch64"),
        ("x86-64", "x86_64"),
        ("x86_64", "x86_64"),
        ("amd64", "x86_64"),
        (" armv7l ", "arm"),
        ("riscv64", "riscv64"),
    ],
)
def test_an_architecture_is_found_under_anybodys_name(given: str, name: str) -> None:
    assert find_architecture(given).name == name


def test_no_two_architectures_share_a_name() -> None:
    names = [n for a in ARCHITECTURES for n in {a.name, a.shown, *a.other_names}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("given", ["", "pdp11", "arm 64"])
def test_an_unknown_architecture_is_told_with_those_known(given: str) -> None:
    with pytest.raises(TargetError, match="is not known") as caught:
        find_architecture(given)
    assert "aarch64, armv7, riscv64, x86-64" in caught.value.next_step


def test_this_machine_has_an_architecture_and_none_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert platform.machine().lower() in (
        host_architecture().name,
        *host_architecture().other_names,
    )
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(TargetError, match="'s390x'"):
        host_architecture()


def test_wheels_for_newer_systems_than_the_program_is_for_are_not_taken() -> None:
    tags = find_architecture("aarch64").wheel_platforms
    assert find_architecture("aarch64").glibc == "2.28"
    assert tags[0] == "manylinux_2_28_aarch64"
    assert {"manylinux_2_24_aarch64", "manylinux_2_17_aarch64"} < set(tags)
    assert "manylinux_2_29_aarch64" not in tags


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_the_triple_names_the_architecture_to_llvm(architecture) -> None:
    assert triple_architecture(architecture.triple) == architecture.name
    assert architecture.zig_target.endswith(architecture.glibc)
