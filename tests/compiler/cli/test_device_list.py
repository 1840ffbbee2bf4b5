"""``edgeweave device list``: of a tracker, of one device, and of what is neither."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from edgeweave.compiler.cli.errors import ExitStatus
from edgeweave.runtime.machine import machine_architecture
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.session import open_session
from edgeweave.targets.kit.launch import RunningDevice

Start = Callable[..., RunningDevice]


def at(running: RunningDevice) -> str:
    return f"{running.host}:{running.port}"


def row(out: str, name: str) -> list[str]:
    return next(line.split() for line in out.splitlines() if f" {name} " in line)


def test_the_devices_of_a_tracker(
    edgeweave: Any, own_tracker: RunningDevice, start_device: Start
) -> None:
    first = start_device("--name", "rack-01", tracker=own_tracker, key="pc")
    second = start_device("--name", "rack-02", tracker=own_tracker, key="other")
    with open_session(Address(second.host, second.port)):
        said = edgeweave("device", "list", "--rpc", at(own_tracker))
    assert said.status == ExitStatus.OK
    assert said.out.startswith(f"tracker {at(own_tracker)}: 2 devices, 1 free\n")
    arch = machine_architecture()
    assert row(said.out, "rack-01")[:5] == ["pc", "rack-01", at(first), "free", arch]
    assert row(said.out, "rack-02")[:5] == ["other", "rack-02", at(second), "busy", "with"]


def test_only_those_with_a_key(
    edgeweave: Any, own_tracker: RunningDevice, start_device: Start
) -> None:
    start_device("--name", "rack-01", tracker=own_tracker, key="pc")
    start_device("--name", "rack-02", tracker=own_tracker, key="other")
    said = edgeweave("device", "list", "--rpc", at(own_tracker), "--key", "pc", "--json")
    (seen,) = json.loads(said.out)
    assert (seen["key"], seen["state"], seen["fault"]) == ("pc", "free", None)
    assert seen["identity"]["name"] == "rack-01"
    assert seen["identity"]["emulated"] == ""
    assert "match" not in seen["identity"]
    said = edgeweave("device", "list", "--rpc", at(own_tracker), "--key", "none")
    assert said.status == ExitStatus.DEVICE
    assert "it has other (1 device), pc (1 device)" in said.err


def test_a_device_that_does_not_answer_is_listed_with_its_fault(
    edgeweave: Any, own_tracker: RunningDevice, start_device: Start
) -> None:
    device = start_device("--name", "rack-01", tracker=own_tracker, key="pc")
    device.process.send_signal(signal.SIGSTOP)
    said = edgeweave("device", "list", "--rpc", at(own_tracker))
    assert said.status == ExitStatus.OK
    assert row(said.out, at(device))[:4] == ["pc", "-", at(device), "device-frozen"]
    assert said.out.endswith("Restart edgeweave-device there, or the device\n")


def test_a_tracker_without_devices(edgeweave: Any, own_tracker: RunningDevice) -> None:
    said = edgeweave("device", "list", "--rpc", at(own_tracker))
    assert (said.status, said.out) == (0, f"tracker {at(own_tracker)}: 0 devices, 0 free\n")
    assert edgeweave("device", "list", "--rpc", at(own_tracker), "--json").out == "[]\n"


def test_one_device(edgeweave: Any, start_device: Start) -> None:
    device = start_device("--name", "rack-01", "--max-session", "77", key="pc")
    said = edgeweave("device", "list", "--rpc", at(device))
    assert said.status == ExitStatus.OK
    assert said.out.startswith(f"rack-01 at {at(device)}: free\n")
    assert f"  architecture     {machine_architecture()}\n" in said.out
    assert "  longest session  77 s\n" in said.out
    data = json.loads(edgeweave("device", "list", "--rpc", at(device), "--json").out)
    assert (data["key"], data["address"]) == ("pc", at(device))


@pytest.mark.parametrize("key", [(), ("--key", "pc")])
def test_nothing_listens(edgeweave: Any, key: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    said = edgeweave("device", "list", "--rpc", f"127.0.0.1:{port}", *key)
    assert (said.status, said.out) == (ExitStatus.DEVICE, "")
    assert "cannot be reached (Connection refused)" in said.err
    assert said.err.count("\n") == 1


def test_a_key_for_a_device(edgeweave: Any, start_device: Start) -> None:
    said = edgeweave("device", "list", "--rpc", at(start_device()), "--key", "pc")
    assert said.status == ExitStatus.DEVICE
    assert "is a device, not a tracker. Leave --key out" in said.err


def test_no_address(edgeweave: Any) -> None:
    said = edgeweave("device", "list", "--rpc", "rack-01")
    assert said.status == ExitStatus.USAGE
    assert "--rpc: address 'rack-01': is not HOST:PORT" in said.err
