"""How sessions begin: who is let in, who has to wait, and what is no device after all."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgeweave.runtime.machine import machine_architecture
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceBusy,
    DeviceError,
    DeviceFrozen,
    DeviceTimeout,
    NotADevice,
    SecretRefused,
    VersionMismatch,
    WrongArchitecture,
)
from edgeweave.targets.devices.session import Options, open_session
from edgeweave.targets.devices.tracker import Grant
from edgeweave.targets.devices.wire import RPC_BUSY, RPC_MAGIC, message, number
from edgeweave.targets.kit.launch import RunningDevice

Start = Callable[..., RunningDevice]
STATE = "edgeweave.device.state"


def at(device: RunningDevice) -> Address:
    return Address(device.host, device.port)


@pytest.fixture
def device(start_device: Start) -> RunningDevice:
    return start_device("--name", "rack-01")


def test_a_session_runs_after_a_grant_that_is_too_old(device: RunningDevice) -> None:
    with open_session(Grant(at(device), "device:0123")) as session:
        assert session.ask(STATE, {}, limit_s=20)


def test_a_busy_device_is_waited_for(device: RunningDevice) -> None:
    session = open_session(at(device))
    with pytest.raises(
        DeviceBusy, match=r"has been in a session with 127\.0\.0\.1 for \d+ s\. Try"
    ):
        open_session(at(device))
    with pytest.raises(DeviceBusy, match=r"and was not free within 0\.3 s"):
        open_session(at(device), Options(wait_s=0.3))
    timer = threading.Timer(0.5, session.close)
    timer.start()
    with open_session(at(device), Options(wait_s=30)) as second:
        assert second.ask(STATE, {}, limit_s=20)
    timer.join()


def test_a_device_with_a_secret(start_device: Start, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"open sesame\n")
    device = start_device("--secret-file", str(file))
    with pytest.raises(SecretRefused, match=r"only those who know its secret\. .*--secret-file"):
        open_session(at(device))
    with pytest.raises(SecretRefused, match="has another secret than the one given"):
        open_session(at(device), Options(secret=b"open barley"))
    with open_session(at(device), Options(secret=b"open sesame")) as session:
        assert session.ask(STATE, {}, limit_s=20)


def test_a_device_of_another_architecture(device: RunningDevice) -> None:
    with pytest.raises(
        WrongArchitecture, match=rf"is {machine_architecture()}, .* is built for sparc-linux-gnu"
    ):
        open_session(at(device), Options(triple="sparc-linux-gnu"))
    with open_session(at(device), Options(triple=f"{machine_architecture()}-linux-gnu")):
        pass


def test_a_device_with_another_release_of_tvm(
    start_device: Start, native_kit: Path, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    shutil.copytree(native_kit, kit)
    data = json.loads((kit / "device.json").read_text())
    data["versions"]["apache-tvm"] = "0.1"
    (kit / "device.json").write_text(json.dumps(data))
    device = start_device(kit=kit)
    with pytest.raises(VersionMismatch, match=r"runs apache-tvm 0\.1, and this machine has 0\."):
        open_session(at(device))


def refuses(hello_reply: bytes, answer: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        greeting = connection.recv(2000)
        connection.sendall(hello_reply if b"edgeweave:hello" in greeting else answer)
        while connection.recv(2000):
            pass

    return talk


@pytest.mark.parametrize(
    ("answer", "fault", "reason"),
    [
        (number(RPC_BUSY), DeviceBusy, "has just begun a session with somebody else"),
        (number(7), NotADevice, "answers 7 to a request for a session"),
        (number(RPC_MAGIC) + number(-1), NotADevice, "announces a key of -1 bytes"),
        (number(RPC_MAGIC) + number(2**31 - 1), NotADevice, "a key of 2147483647 bytes"),
        (b"", DeviceFrozen, r"did not open a session in 0\.5 s"),
        (number(RPC_MAGIC), DeviceFrozen, r"did not open a session in 0\.5 s"),
        (number(RPC_MAGIC) + number(9) + b"half", DeviceFrozen, "did not open a session"),
        # nothing follows where TVM expects an answer to its first call
        (number(RPC_MAGIC) + message(b"server:k"), DeviceTimeout, "the first call was not done"),
    ],
)
def test_a_device_that_does_not_keep_to_the_protocol(
    device: RunningDevice, serve: Any, answer: bytes, fault: type[DeviceError], reason: str
) -> None:
    with socket.create_connection((device.host, device.port), 10) as connection:
        connection.sendall(number(RPC_MAGIC) + message(b"edgeweave:hello"))
        reply = b""
        while chunk := connection.recv(10000):
            reply += chunk
    before = psutil.Process().num_fds()
    server = serve(refuses(reply, answer))
    with pytest.raises(fault, match=reason):
        open_session(server.address, Options(timeout_s=0.5))
    server.close()
    assert psutil.Process().num_fds() == before
