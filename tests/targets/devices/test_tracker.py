"""The tracker: asked, waited for with an end, and told from all that is none."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceBusy,
    DeviceError,
    NoSuchKey,
    NotATracker,
    TrackerUnreachable,
)
from edgeweave.targets.devices.reply import MalformedReplyError
from edgeweave.targets.devices.session import open_session
from edgeweave.targets.devices.tracker import Grant, KeyState, Tracker, _grant, _summary, _value
from edgeweave.targets.devices.wire import TRACKER_MAGIC, message, number
from edgeweave.targets.kit.launch import RunningDevice

Start = Callable[..., RunningDevice]


def at(running: RunningDevice, timeout_s: float = 5.0) -> Tracker:
    return Tracker(Address(running.host, running.port), timeout_s)


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_keys_and_devices(tracker: RunningDevice, start_device: Start) -> None:
    devices = [start_device(tracker=tracker, key="summary") for _ in range(2)]
    summary = at(tracker).summary()
    assert summary.keys["summary"] == KeyState(2, 2, 0)
    assert summary.of("summary") == sorted(Address(d.host, d.port) for d in devices)


def test_a_grant_opens_a_session_and_the_device_is_free_again_afterwards(
    tracker: RunningDevice, start_device: Start
) -> None:
    start_device("--name", "rack-01", tracker=tracker, key="grant")
    asked = at(tracker)
    for _ in range(3):
        with open_session(asked.request("grant", 20)) as session:
            assert session.name == "rack-01"
            assert asked.summary().keys["grant"].free == 0


def test_an_unknown_key_is_told_at_once_with_the_keys_there_are(
    tracker: RunningDevice, start_device: Start
) -> None:
    start_device(tracker=tracker, key="known")
    with pytest.raises(NoSuchKey, match=r"no device with the key 'other'.*known \(1 device\)"):
        at(tracker).request("other", 600)
    assert "other" not in at(tracker).summary().keys


def test_a_tracker_without_devices(own_tracker: RunningDevice) -> None:
    with pytest.raises(NoSuchKey, match=r"it has no devices at all\. Start edgeweave-device"):
        at(own_tracker).request("any", 600)


def test_all_busy_says_with_whom(tracker: RunningDevice, start_device: Start) -> None:
    start_device("--name", "rack-01", tracker=tracker, key="busy")
    asked = at(tracker)
    with open_session(asked.request("busy", 0)):
        for wait_s, waited in (
            (0, "no device is free: "),
            (0.5, r"no device is free after 0\.5 s: "),
        ):
            expected = (
                rf"{waited}rack-01 \(127.*\) has been in a session with 127\.0\.0\.1 for \d+ s"
            )
            with pytest.raises(DeviceBusy, match=expected):
                asked.request("busy", wait_s)
    # the requests that were given up take nothing away from this one
    # (a device that was swallowed is offered again after 10 s)
    assert asked.request("busy", 8).match


def test_a_device_that_becomes_free_goes_to_who_waits(
    tracker: RunningDevice, start_device: Start
) -> None:
    start_device(tracker=tracker, key="wait")
    asked = at(tracker)
    session = open_session(asked.request("wait", 0))
    timer = threading.Timer(0.5, session.close)
    timer.start()
    with open_session(asked.request("wait", 30)) as second:
        assert second.name
    timer.join()


def test_all_free_devices_at_once(tracker: RunningDevice, start_device: Start) -> None:
    devices = [start_device(tracker=tracker, key="all") for _ in range(3)]
    grants = at(tracker).take_free("all", 2)
    assert len(grants) == 2
    grants += at(tracker).take_free("all")
    assert {grant.address for grant in grants} == {Address(d.host, d.port) for d in devices}
    assert at(tracker).take_free("all") == []


@pytest.mark.slow
def test_a_device_that_was_granted_to_nobody_in_the_end_comes_back(
    tracker: RunningDevice, start_device: Start
) -> None:
    start_device(tracker=tracker, key="lost")
    first = at(tracker).request("lost", 0)  # and never used
    second = at(tracker).request("lost", 60)
    assert second.address == first.address
    assert second.match != first.match
    with open_session(second) as session:
        assert session.name


def test_a_device_that_dies_while_it_is_waited_for(
    tracker: RunningDevice, start_device: Start
) -> None:
    device = start_device(tracker=tracker, key="dies")
    with open_session(at(tracker).request("dies", 0)):
        timer = threading.Timer(0.3, device.process.kill)
        timer.start()
        with pytest.raises(NoSuchKey):
            at(tracker).request("dies", 1.5)
        timer.join()


def test_a_frozen_tracker(own_tracker: RunningDevice) -> None:
    own_tracker.process.send_signal(signal.SIGSTOP)
    with pytest.raises(TrackerUnreachable, match=r"did not answer in 0\.3 s\. Restart") as caught:
        at(own_tracker, 0.3).request("any", 600)
    assert caught.value.retry
    own_tracker.process.send_signal(signal.SIGCONT)
    assert at(own_tracker).summary().devices == ()


def test_a_tracker_that_freezes_while_a_device_is_waited_for(
    own_tracker: RunningDevice, start_device: Start
) -> None:
    start_device(tracker=own_tracker, key="k")
    grant = at(own_tracker).request("k", 0)
    with open_session(grant):
        timer = threading.Timer(0.5, own_tracker.process.send_signal, (signal.SIGSTOP,))
        timer.start()
        with pytest.raises(TrackerUnreachable, match="did not answer"):
            at(own_tracker, 0.5).request("k", 1)
        timer.join()
    own_tracker.process.send_signal(signal.SIGCONT)
    assert at(own_tracker).request("k", 60).address == grant.address


def test_a_tracker_that_dies_while_a_device_is_waited_for(
    own_tracker: RunningDevice, start_device: Start
) -> None:
    start_device(tracker=own_tracker, key="k")
    with open_session(at(own_tracker).request("k", 0)) as session:
        timer = threading.Timer(0.3, own_tracker.process.kill)
        timer.start()
        with pytest.raises(TrackerUnreachable, match=r"cannot be reached|hung up"):
            at(own_tracker).request("k", 2)
        timer.join()
        assert session.ask("edgeweave.device.state", {}, limit_s=10)


def test_no_tracker_at_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    with pytest.raises(TrackerUnreachable, match=r"Connection refused.*tvm\.exec\.rpc_tracker"):
        Tracker(address).request("any", 600)


def test_a_device_is_told_from_a_tracker(start_device: Start) -> None:
    device = start_device()
    with pytest.raises(NotATracker, match=r"is a device, not a tracker\. Leave --key out"):
        at(device, 0.3).summary()


def greeted(answer: bytes) -> Callable[[socket.socket], None]:
    """The manners of something that takes the greeting of a tracker and then says this."""

    def talk(connection: socket.socket) -> None:
        connection.recv(4)
        connection.sendall(number(TRACKER_MAGIC))
        connection.recv(1000)
        connection.sendall(answer)
        connection.recv(1000)

    return talk


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (number(-5), "announces a reply of -5 bytes"),
        (number(2**31 - 1), "announces a reply of 2147483647 bytes"),
        (message(b"no json"), "its reply is no JSON"),
        (message(b"[" * 100000), "its reply is no JSON"),
        (message(b"\xff\xfe"), "its reply is no JSON"),
        (message(b"[]"), "its reply says that it failed"),
        (message(b"[-1, {}]"), "its reply says that it failed"),
        (message(b"{}"), "its reply is not a list"),
        (message(b'[0, {"queue_info": {}}]'), r"its reply\[1\] has no 'server_info'"),
    ],
)
def test_an_answer_that_makes_no_sense(serve: Any, answer: bytes, reason: str) -> None:
    with pytest.raises(NotATracker, match=f"does not keep to the protocol: .*{reason}"):
        Tracker(serve(greeted(answer)).address).summary()


def test_half_an_answer(serve: Any) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4)
        connection.sendall(number(TRACKER_MAGIC))
        connection.recv(1000)
        connection.sendall(number(100) + b"half")

    with pytest.raises(TrackerUnreachable, match="hung up"):
        Tracker(serve(talk).address).summary()


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", number(1)])
def test_another_protocol(serve: Any, greeting: bytes) -> None:
    with pytest.raises(NotATracker, match="speaks another protocol"):
        Tracker(serve(lambda connection: connection.sendall(greeting)).address).summary()


def test_something_that_hangs_up(serve: Any) -> None:
    with pytest.raises(NotATracker, match="hung up at once"):
        Tracker(serve(lambda connection: connection.recv(4)).address).summary()


def test_a_grant_that_comes_at_the_last_moment_is_used(serve: Any) -> None:
    """It was sent before the tracker learnt that we had given up."""
    summary = {
        "queue_info": {"k": {"free": 0, "pending": 0}},
        "server_info": [{"key": "server:k", "addr": ["127.0.0.1", 9]}],
    }

    def talk(connection: socket.socket) -> None:
        connection.recv(4)
        connection.sendall(number(TRACKER_MAGIC))
        if b"[6]" in connection.recv(1000):
            connection.sendall(message(json.dumps([0, summary]).encode()))
        else:
            answer = message(b'[0, ["10.0.0.7", 9090, "k:0.5"]]')
            connection.sendall(answer[:7])
            assert connection.recv(1) == b""  # we have given up
            connection.sendall(answer[7:])

    grant = Tracker(serve(talk).address).request("k", 0.2)
    assert grant == Grant(Address("10.0.0.7", 9090), "k:0.5")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["server_info", "queue_info", "key", "addr", "free", "pending", "k"]), inner
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON | st.tuples(st.just(0), JSON), st.sampled_from([_summary, _grant]))
def test_no_answer_makes_it_fail_in_another_way(reply: object, read: Callable[..., Any]) -> None:
    told = ""
    try:
        read(_value(json.dumps(reply).encode()))
    except MalformedReplyError as error:
        told = str(error)
    assert told.isprintable()


@given(st.binary(max_size=100))
def test_no_bytes_make_it_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(MalformedReplyError):
        _value(data)


def test_every_fault_of_a_tracker_is_a_device_error() -> None:
    assert issubclass(NotATracker, DeviceError)
    assert not NotATracker.retry
