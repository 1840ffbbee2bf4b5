"""``edgeweave device``: build, emulate, serve."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from edgeweave.targets.kit.architectures import host_architecture

LISTENING = re.compile(r"^edgeweave-device: listening on (\S+):(\d+)$")


@pytest.fixture
def environment(kept_cache: Path) -> dict[str, str]:
    """What has been compiled is not compiled again."""
    return {**os.environ, "EDGEWEAVE_CACHE_DIR": str(kept_cache)}


@contextmanager
def started(
    command_line: list[str], *arguments: object, environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A verb that serves, and where it listens; ended at the end with all it started."""
    process = subprocess.Popen(
        [*command_line, *map(str, arguments)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            found = LISTENING.match(process.stdout.readline())
            assert found, process.communicate(timeout=60)
            yield process, found[1], int(found[2])
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def stop(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Its exit status after a signal, and what it said on stderr."""
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_the_group_lists_its_verbs(edgeweave) -> None:
    said = edgeweave("device", "--help")
    assert said.status == 0
    listed = [line.split()[0] for line in said.out.splitlines() if line.startswith("  ")]
    assert {"build", "emulate", "serve"} <= set(listed)


@pytest.mark.parametrize(
    "arguments",
    [
        ("device", "knit"),
        ("device", "build", "-o", "x"),
        ("device", "build", "--arch", "aarch64"),
        ("device", "build", "--arch", "riscv64", "-o", "x", "--libraries", "/no/such/folder"),
        ("device", "emulate"),
        ("device", "emulate", "--arch", "aarch64", "--json"),
        ("device", "serve", "--port", "70000"),
        ("device", "serve", "--max-session", "0"),
        ("device", "serve", "--secret-file", "/no/such/file"),
        ("device", "serve", "--tracker", "127.0.0.1:9190"),
    ],
)
def test_wrong_usage_has_status_2(arguments, edgeweave) -> None:
    said = edgeweave(*arguments)
    assert (said.status, said.out) == (2, "")
    assert "Usage: edgeweave device" in said.err


@pytest.mark.parametrize(
    ("arch", "told"),
    [
        ("pdp11", "architecture 'pdp11': is not known. Those known are: aarch64, armv7"),
        ("riscv64", "architecture riscv64: has no published TVM runtime. Build libtvm_ffi.so"),
    ],
)
def test_an_architecture_without_a_kit_has_status_3(arch, told, edgeweave, tmp_path) -> None:
    said = edgeweave("device", "build", "--arch", arch, "-o", tmp_path / "kit")
    assert (said.status, said.out) == (3, "")
    assert said.err.startswith(f"error: {told}")
    assert len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_holds_something_else_has_status_6(edgeweave, tmp_path) -> None:
    (tmp_path / "file").touch()
    said = edgeweave("device", "build", "--arch", "x86-64", "-o", tmp_path)
    assert (said.status, said.out) == (6, "")
    assert "is no kit" in said.err


def test_without_a_cache_there_is_one_error(edgeweave, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path / "file"))
    said = edgeweave("-q", "device", "serve")
    assert said.status == 6
    assert said.err.splitlines() == [
        "error: the cache: cannot be written. Set EDGEWEAVE_CACHE_DIR to a writable folder"
    ]


def test_this_machines_architecture_is_not_emulated(edgeweave) -> None:
    said = edgeweave("device", "emulate", "--arch", host_architecture())
    assert (said.status, said.out) == (3, "")
    assert "edgeweave device serve" in said.err


def test_a_kit_of_another_kind_is_refused_before_anything_is_fetched(edgeweave, tmp_path) -> None:
    other = "x86-64" if host_architecture().name == "aarch64" else "aarch64"
    said = edgeweave("device", "emulate", "--arch", other, "--kit", tmp_path)
    assert (said.status, said.out) == (5, "")
    assert "is no kit" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("native_kit")
def test_a_kit_is_built_and_described(typed, environment, tmp_path) -> None:
    arch, kit = host_architecture(), tmp_path / "kit"
    said = typed("device", "build", "--arch", arch, "-o", kit, env=environment)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"{kit}: a device for {arch.name}, ")
    assert f"apache-tvm {version('apache-tvm')}" in said.out
    again = typed("device", "build", "--arch", arch, "-o", kit, "--json", env=environment)
    data = json.loads(again.out)
    assert (data["path"], data["arch"]) == (str(kit), arch.name)
    assert data["versions"]["edgeweave"] == version("edgeweave")
    assert data["bytes"] == sum(p.stat().st_size for p in kit.rglob("*") if p.is_file())


@pytest.mark.slow
@pytest.mark.usefixtures("native_kit")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_in_peace_on_a_signal(number, command_line, environment, tmp_path) -> None:
    arguments = ("device", "serve", "--port", 0, "--state", tmp_path / "state")
    with started(command_line, *arguments, environment=environment) as (process, host, port):
        with socket.create_connection((host, port), timeout=30):
            pass
        status, err = stop(process, number)
    assert status == 0, err


@pytest.mark.slow
@pytest.mark.usefixtures("native_kit")
def test_a_taken_port_has_status_5_and_the_programs_own_words(typed, environment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = typed("device", "serve", "--port", port, env=environment, timeout=60)
    assert (said.status, said.out) == (5, "")
    *_, program, ours = said.err.splitlines()
    assert program.startswith("edgeweave-device: ")
    assert str(port) in program
    assert ours == "error: the device: ended with status 1. Its last line above says why"


@pytest.mark.slow
@pytest.mark.usefixtures("native_kit")
def test_an_option_that_the_program_refuses_has_status_2(typed, environment) -> None:
    arguments = ("--port", 0, "--tracker", "no port", "--key", "k")
    said = typed("device", "serve", *arguments, env=environment, timeout=60)
    assert (said.status, said.out) == (2, "")
    assert "--tracker takes" in said.err
    assert "Traceback" not in said.err


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.usefixtures("aarch64_kit", "aarch64_emulator")
def test_an_emulated_device_listens_until_it_is_stopped(
    command_line, environment, tmp_path
) -> None:
    arguments = ("device", "emulate", "--arch", "aarch64", "--cpu", "cortex-a53", "--port", 0)
    state = ("--state", tmp_path / "state")
    with started(command_line, *arguments, *state, environment=environment) as (
        process,
        host,
        port,
    ):
        with socket.create_connection((host, port), timeout=30):
            pass
        status, err = stop(process, signal.SIGTERM)
    assert status == 0, err


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.usefixtures("aarch64_kit", "aarch64_emulator")
def test_a_cpu_that_qemu_does_not_know_has_status_3(typed, environment) -> None:
    said = typed(
        "device", "emulate", "--arch", "aarch64", "--cpu", "cortex-a55", env=environment, timeout=60
    )
    assert (said.status, said.out) == (3, "")
    assert said.err.startswith("error: CPU 'cortex-a55': is not known to qemu-aarch64")
    assert "Did you mean cortex-a57?" in said.err or "Did you mean cortex-a35?" in said.err
