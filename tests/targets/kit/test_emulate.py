"""Emulated devices: what is refused before one starts, and one that answers."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.kit.architectures import find_architecture, host_architecture
from edgeweave.targets.kit.emulate import (
    Emulator,
    check_kit,
    emulated_device,
    find_emulator,
    known_cpus,
    parse_cpus,
)
from edgeweave.targets.kit.errors import EmulationError
from edgeweave.targets.kit.launch import native_launch, running

MAGIC = 0xFF271


def ask_hello(host: str, port: int) -> dict:
    """The answer to edgeweave:hello, spoken by hand: little endian, length before text."""
    key = b"edgeweave:hello"
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(struct.pack("<ii", MAGIC, len(key)) + key)
        with connection.makefile("rb") as answer:
            magic, length = struct.unpack("<ii", answer.read(8))
            assert magic == MAGIC
            return dict(json.loads(answer.read(length)))


def test_this_machines_own_architecture_needs_no_emulator(tmp_path, say) -> None:
    with pytest.raises(TargetError, match="needs no emulator") as caught:
        find_emulator(host_architecture(), tmp_path, say)
    assert "Start DIR/edgeweave-device" in caught.value.next_step
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("manifest", [None, "no JSON", "[]", "{}", '{"arch": 3}', '{"arch": "x"}'])
def test_a_folder_that_is_no_kit_is_refused(manifest, tmp_path) -> None:
    if manifest is not None:
        (tmp_path / "device.json").write_text(manifest)
    with pytest.raises(EmulationError, match=r"is no kit: it has no readable device\.json"):
        check_kit(tmp_path, find_architecture("aarch64"))


def test_a_kit_for_another_architecture_is_refused(tmp_path) -> None:
    (tmp_path / "device.json").write_text('{"arch": "x86_64"}')
    with pytest.raises(EmulationError, match="is a kit for x86-64, not for aarch64") as caught:
        check_kit(tmp_path, find_architecture("aarch64"))
    assert "device build --arch aarch64" in caught.value.next_step
    check_kit(tmp_path, find_architecture("x86-64"))


def test_cpus_are_read_from_each_form_of_qemus_list() -> None:
    assert parse_cpus("Available CPUs:\n  a64fx\n  cortex-a53\n") == ("a64fx", "cortex-a53")
    assert parse_cpus("any\nrv64\nsifive-u54\n") == ("any", "rv64", "sifive-u54")
    x86 = (
        "Available CPUs:\nx86 486                   (alias configured by machine type)\n"
        "x86 Haswell-v1            Intel Core Processor (Haswell)\nx86 max\n\n"
        "Recognized CPUID flags:\n  3dnow 3dnowext\n  abm\n"
    )
    assert parse_cpus(x86) == ("486", "Haswell-v1", "max")
    assert parse_cpus("") == ()


def fake_emulator(tmp_path: Path, listing: str) -> Emulator:
    """An emulator whose qemu does nothing but list CPUs, with a kit beside it."""
    qemu = tmp_path / "qemu-riscv64"
    qemu.write_text(f"#!/bin/sh\nprintf '{listing}'\n")
    qemu.chmod(0o755)
    (tmp_path / "device.json").write_text('{"arch": "riscv64"}')
    return Emulator(find_architecture("riscv64"), qemu, tmp_path / "root")


def test_the_command_names_root_program_and_options_and_the_cpu_is_in_the_environment(
    tmp_path,
) -> None:
    emulator = fake_emulator(tmp_path, "rv64\\n")
    launch = emulator.launch(tmp_path, ["--port", "0"], "rv64,v=true,vlen=256")
    program = f"{tmp_path}/bin/edgeweave-device"
    assert launch.command == (
        str(emulator.qemu), "-L", f"{tmp_path}/root", program, "--port", "0",
    )  # fmt: skip
    assert launch.environment == {"QEMU_CPU": "rv64,v=true,vlen=256"}
    assert emulator.launch(tmp_path).environment == {}


def test_an_unknown_cpu_is_told_with_the_closest_and_all_names(tmp_path) -> None:
    emulator = fake_emulator(tmp_path, "rv64\\nsifive-u54\\n")
    with pytest.raises(TargetError, match="CPU 'sifive-u74': is not known") as caught:
        emulator.launch(tmp_path, (), "sifive-u74")
    assert caught.value.next_step == "Did you mean sifive-u54? It has: rv64, sifive-u54"


def test_where_qemu_lists_nothing_the_cpu_is_left_to_qemu(tmp_path) -> None:
    emulator = fake_emulator(tmp_path, "")
    assert emulator.launch(tmp_path, (), "new").environment == {"QEMU_CPU": "new"}


@pytest.mark.emulated
def test_qemu_knows_the_cpus_of_boards(aarch64_emulator: Emulator) -> None:
    assert {"cortex-a53", "cortex-a76", "max"} <= set(known_cpus(aarch64_emulator.qemu))


@pytest.mark.slow
@pytest.mark.emulated
def test_an_emulated_device_answers_and_says_that_it_is_emulated(
    aarch64_emulator: Emulator, aarch64_kit: Path, tmp_path: Path
) -> None:
    options = ["--port", "0", "--name", "rack-07", "--state", str(tmp_path / "state")]
    log = tmp_path / "log"
    with emulated_device(aarch64_emulator, aarch64_kit, log, options, "cortex-a53") as device:
        hello = ask_hello(device.host, device.port)
        assert (hello["name"], hello["arch"]) == ("rack-07", "aarch64")
        assert hello["emulated"] == "qemu-user"
        assert "neon" in hello["features"]
        assert "dotprod" not in hello["features"]  # a Cortex-A53 has none
        versions = json.loads((aarch64_kit / "device.json").read_text())["versions"]
        assert hello["versions"] == versions
        assert device.process.poll() is None
    assert device.process.returncode == 0, log.read_text()


@pytest.mark.slow
def test_a_device_that_is_not_emulated_does_not_say_so(native_kit: Path, tmp_path: Path) -> None:
    options = ["--port", "0", "--state", str(tmp_path / "state")]
    with running(native_launch(native_kit, options), tmp_path / "log") as device:
        hello = ask_hello(device.host, device.port)
        assert hello["arch"] == host_architecture().name
        assert hello["emulated"] != "qemu-user"
