"""Who a device is, and everything else that may answer instead."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.runtime.machine import machine_architecture
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceError,
    DeviceFrozen,
    DeviceUnreachable,
    LinkCut,
    NotADevice,
    VersionMismatch,
)
from edgeweave.targets.devices.identity import Busy, Cpu, End, check_versions, hello, parse_identity
from edgeweave.targets.devices.wire import RPC_MAGIC, message, number
from edgeweave.targets.kit.launch import RunningDevice

GOOD: dict[str, Any] = {
    "protocol": 1,
    "name": "rack-07",
    "key": "rk3588",
    "arch": "aarch64",
    "cpus": [
        {"core": 0, "part": "cortex-a55", "max_mhz": 1800, "governor": "performance"},
        {"core": 1, "part": None, "max_mhz": None, "governor": None},
    ],
    "features": ["dotprod", "neon"],
    "memory_mib": 3900,
    "serial": "",
    "emulated": "qemu-user",
    "versions": {"apache-tvm": "0.27", "edgeweave": "0.1"},
    "runners": ["tvm"],
    "limits": {"session_s": 3600, "upload_mib": 512, "store_mib": 2048},
    "free_mib": 900,
    "temperature_c": 41.25,
    "busy": {"since_s": 1.5, "left_s": 60, "peer": "10.0.0.5"},
    "ended": [{"match": "k:1", "end": "signal", "signal": "SIGILL", "status": 0, "seconds": 2.5}],
    "match": "rk3588:0123",
}


def parsed(**changes: Any) -> Any:
    return parse_identity(json.dumps(GOOD | changes).encode(), "device x:1")


def test_all_that_a_device_says() -> None:
    identity = parsed(more="of a later version")
    assert identity.cpus == (Cpu(0, "cortex-a55", 1800, "performance"), Cpu(1, None, None, None))
    assert identity.busy == Busy(1.5, 60, "10.0.0.5")
    assert identity.ended == (End("k:1", "signal", "SIGILL", 0, 2.5),)
    assert (identity.parts, identity.word) == ("1 x cortex-a55 + 1 x unknown", "emulated")
    assert parsed(emulated="").word == "measured"
    assert identity.end_of("k:1") == identity.ended[0]
    assert identity.end_of("k:2") is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": 7}, "its greeting.name is not a text"),
        ({"cpus": {}}, "its greeting.cpus is not a list"),
        ({"cpus": [1]}, "its greeting.cpus[0] is not an object"),
        ({"cpus": [{"core": -1}]}, "its greeting.cpus[0].core is not a whole number above zero"),
        ({"limits": {}}, "its greeting.limits has no 'session_s'"),
        ({"memory_mib": 10**400}, "its greeting.memory_mib is not a number of a sensible size"),
        ({"free_mib": float("nan")}, "its greeting.free_mib is not a number of a sensible size"),
        ({"free_mib": True}, "its greeting.free_mib is not a number"),
        ({"match": "a -timeout=9"}, "its greeting.match is not a short text of plain characters"),
        ({"match": "\n"}, "its greeting.match is not a short text of plain characters"),
        ({"protocol": "1"}, "its greeting.protocol is not a number"),
    ],
)
def test_a_field_that_is_wrong_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotADevice) as caught:
        parsed(**changes)
    assert caught.value.reason == f"does not keep to the protocol: {reason}"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    data = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(NotADevice, match=f"its greeting has no '{name}'"):
        parse_identity(json.dumps(data).encode(), "device x:1")


def test_texts_are_fit_to_be_printed() -> None:
    identity = parsed(name="a\x1b[31m\ud800\nb", serial="x" * 1000)
    assert identity.name == "a?[31m? b"
    assert len(identity.serial) < 600


def test_another_version_of_the_protocol_names_both() -> None:
    with pytest.raises(VersionMismatch, match=r"version 2 of the protocol.*speaks 1.*device build"):
        parse_identity(b'{"protocol": 2}', "device x:1")


def test_versions_that_differ_are_named_on_both_sides() -> None:
    identity = parsed()
    check_versions(identity, {"apache-tvm": "0.27"}, "device x:1")
    with pytest.raises(
        VersionMismatch, match=r"apache-tvm 0\.27, and this machine has 0\.28.*device build"
    ):
        check_versions(identity, {"apache-tvm": "0.28"}, "device x:1")
    with pytest.raises(VersionMismatch, match="apache-tvm-ffi of no known version"):
        check_versions(identity, {"apache-tvm-ffi": "1"}, "device x:1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.binary(max_size=200) | st.just(b"[" * 100000))
def test_no_bytes_make_it_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(DeviceError) as caught:
        parse_identity(data, "device x:1")
    assert str(caught.value).isprintable()


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_no_value_makes_it_fail_in_another_way(name: str, value: object) -> None:
    try:
        identity = parsed(**{name: value})
        told = identity.name + identity.parts + identity.serial
    except DeviceError as fault:
        told = str(fault)
    assert told.isprintable()


def test_a_real_device(start_device: Callable[..., RunningDevice]) -> None:
    device = start_device("--name", "rack-01", key="pc")
    identity = hello(Address(device.host, device.port))
    assert (identity.name, identity.key, identity.arch) == ("rack-01", "pc", machine_architecture())
    assert identity.busy is None
    assert identity.ended == ()
    assert identity.cpus
    assert identity.memory_mib > 0
    again = hello(Address(device.host, device.port))
    assert again.match != identity.match


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    with pytest.raises(DeviceUnreachable, match=r"cannot be reached \(Connection refused\)"):
        hello(address)


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(DeviceUnreachable, match="cannot be reached"):
        hello(Address("no-such-host.invalid", 9090), 20)
    with pytest.raises(DeviceUnreachable, match="cannot be reached"):
        hello(Address("a" * 200, 9090), 20)


def test_a_device_that_is_frozen(start_device: Callable[..., RunningDevice]) -> None:
    device = start_device()
    address = Address(device.host, device.port)
    device.process.send_signal(signal.SIGSTOP)
    with pytest.raises(DeviceFrozen, match=r"takes connections but did not answer in 0\.3 s"):
        hello(address, 0.3)
    device.process.send_signal(signal.SIGCONT)
    assert hello(address).name


def test_a_listener_whose_queue_is_full() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = Address(*listener.getsockname())
        with (
            socket.create_connection((address.host, address.port)),
            pytest.raises((DeviceFrozen, DeviceUnreachable), match="answer in"),
        ):
            hello(address, 0.3)


def test_one_byte_now_and_then_does_not_extend_the_deadline(serve: Any) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(number(RPC_MAGIC) + number(1000))
        for _ in range(1000):
            connection.sendall(b" ")
            time.sleep(0.05)

    before = time.monotonic()
    with pytest.raises(DeviceFrozen):
        hello(serve(drip).address, 0.5)
    assert time.monotonic() - before < 20


@pytest.mark.parametrize(
    ("answer", "fault", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NotADevice, "speaks another protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotADevice, "speaks another protocol"),
        (number(RPC_MAGIC) + number(-1), NotADevice, "announces a reply of -1 bytes"),
        (number(RPC_MAGIC) + number(2**31 - 1), NotADevice, "a reply of 2147483647 bytes"),
        (number(RPC_MAGIC) + message(b"{}"), NotADevice, "its greeting has no 'protocol'"),
        (number(RPC_MAGIC) + number(9) + b"half", LinkCut, "closed the connection before"),
        (b"", LinkCut, "closed the connection before"),
    ],
)
def test_something_else_answers(
    serve: Any, answer: bytes, fault: type[DeviceError], reason: str
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(answer)

    with pytest.raises(fault, match=reason):
        hello(serve(talk).address)


def test_a_tracker_is_told_from_a_device(tracker: RunningDevice) -> None:
    with pytest.raises(NotADevice, match=r"is a TVM tracker, not a device\. Name one of its keys"):
        hello(Address(tracker.host, tracker.port))


_TVM_SERVER = """
import sys, threading
from tvm.rpc.server import PopenRPCServerState
state = PopenRPCServerState("127.0.0.1", 30000, 60000, silent=True)
print(state.port, flush=True)
state.thread.join()
"""


def test_tvms_own_server_is_told_from_a_device() -> None:
    command = [sys.executable, "-c", _TVM_SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            with pytest.raises(NotADevice, match=r"is TVM's own RPC server.*device build"):
                hello(Address("127.0.0.1", port))
        finally:
            server.kill()
