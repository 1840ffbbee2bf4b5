"""Several real devices at once, some of which fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceFailure,
    DeviceFrozen,
    DeviceTimeout,
    DeviceUnreachable,
    NoDeviceLeft,
    NoSuchKey,
    SessionDied,
)
from edgeweave.targets.devices.identity import hello
from edgeweave.targets.devices.pool import Place, acquire, on_each, work_through
from edgeweave.targets.devices.session import Options, Session
from edgeweave.targets.kit.launch import RunningDevice

Start = Callable[..., RunningDevice]
STATE = "edgeweave.device.state"
LINK = "edgeweave.device.measure_link"
FOREVER = {"a": [0], "b": [0], "bytes": 1 << 26, "repeats": 10000}
SOON = Options(timeout_s=3, wait_s=20)


def at(running: RunningDevice, key: str | None = None, **more: Any) -> Place:
    return Place(Address(running.host, running.port), key, options=SOON, **more)


def work(session: Session, item: int = 0) -> int:
    session.ask(STATE, {}, limit_s=20)
    time.sleep(0.05)  # so that no device is done before the others have begun
    return item * item


def wait_until_free(device: RunningDevice) -> None:
    deadline = time.monotonic() + 30
    while hello(Address(device.host, device.port)).busy is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def three(tracker: RunningDevice, start_device: Start, request: pytest.FixtureRequest) -> Any:
    key = request.node.name
    names = ("rack-0", "rack-1", "rack-2")
    return key, [start_device("--name", name, tracker=tracker, key=key) for name in names]


def test_items_are_shared_and_the_results_in_order(tracker: RunningDevice, three: Any) -> None:
    key, _ = three
    done = work_through(at(tracker, key), range(20), work)
    assert [one.value for one in done] == [i * i for i in range(20)]
    assert {one.name for one in done} == {"rack-0", "rack-1", "rack-2"}
    assert all(one.fault is None and one.tries == () for one in done)


def test_no_items_need_no_device() -> None:
    assert work_through(Place(Address("no-such-host.invalid", 1)), [], work) == []


def test_the_same_on_every_device(tracker: RunningDevice, three: Any) -> None:
    key, devices = three
    done = on_each(at(tracker, key), lambda session: session.name)
    assert sorted(one.value or "" for one in done) == ["rack-0", "rack-1", "rack-2"]
    assert {one.address for one in done} == {Address(d.host, d.port) for d in devices}
    assert all(one.identity is not None for one in done)


def test_no_more_devices_than_wanted(tracker: RunningDevice, three: Any) -> None:
    key, _ = three
    assert len(on_each(at(tracker, key, devices=2), lambda session: session.name)) == 2


def test_one_device_at_its_address(three: Any) -> None:
    _, devices = three
    (done,) = on_each(at(devices[1]), lambda session: session.name)
    assert done.value == "rack-1"


def test_sessions_to_keep(tracker: RunningDevice, three: Any) -> None:
    key, devices = three
    devices[1].process.send_signal(signal.SIGSTOP)
    notes: list[str] = []
    sessions = acquire(at(tracker, key), say=notes.append)
    assert sorted(session.name for session in sessions) == ["rack-0", "rack-2"]
    assert len(notes) == 1
    assert "left out: device" in notes[0]
    for session in sessions:
        assert session.ask(STATE, {}, limit_s=20)
        session.close()


def test_no_session_at_all_is_the_fault_of_one(tracker: RunningDevice, three: Any) -> None:
    key, devices = three
    for device in devices:
        device.process.send_signal(signal.SIGSTOP)
    with pytest.raises(DeviceFrozen):
        acquire(at(tracker, key))


def test_a_key_without_devices(tracker: RunningDevice, three: Any) -> None:
    with pytest.raises(NoSuchKey):
        work_through(at(tracker, "none"), [1], work)


def test_a_device_that_dies_leaves_its_item_to_the_others(
    tracker: RunningDevice, three: Any
) -> None:
    key, devices = three
    notes: list[str] = []
    killed = threading.Event()

    def work_or_die(session: Session, item: int) -> int:
        if session.name == "rack-1" and not killed.is_set():
            killed.set()
            devices[1].process.kill()
            devices[1].process.wait()
        return work(session, item)

    done = work_through(at(tracker, key), range(12), work_or_die, say=notes.append)
    assert killed.is_set()
    assert [one.value for one in done] == [i * i for i in range(12)]
    assert {one.name for one in done} == {"rack-0", "rack-2"}
    assert [len(one.tries) for one in done].count(1) == 1
    assert any("left out" in note for note in notes)


def test_a_device_that_freezes_is_left_out(tracker: RunningDevice, three: Any) -> None:
    key, devices = three
    frozen = threading.Event()

    def work_or_freeze(session: Session, item: int) -> int:
        if session.name == "rack-2" and not frozen.is_set():
            frozen.set()
            devices[2].process.send_signal(signal.SIGSTOP)
            session.ask(LINK, FOREVER, limit_s=0.5)
        return work(session, item)

    done = work_through(at(tracker, key), range(8), work_or_freeze)
    assert [one.value for one in done] == [i * i for i in range(8)]
    assert {one.name for one in done} == {"rack-0", "rack-1"}


def test_a_session_that_is_killed_is_opened_again(
    start_device: Start, interfere: Callable[..., None]
) -> None:
    device = start_device("--name", "rack-01")
    first = threading.Event()

    def work_or_die(session: Session, item: int) -> int:
        if item == 1 and not first.is_set():
            first.set()
            interfere(device, signal.SIGKILL, 0.2)
            session.ask(LINK, FOREVER, limit_s=60)
        return work(session, item)

    done = work_through(at(device), range(4), work_or_die)
    assert [one.value for one in done] == [0, 1, 4, 9]
    assert "SIGKILL" in done[1].tries[0]


def test_an_item_that_kills_its_session_fails_and_the_rest_goes_on(
    start_device: Start, interfere: Callable[..., None]
) -> None:
    device = start_device()

    def work_or_crash(session: Session, item: int) -> int:
        if item == 1:
            interfere(device, signal.SIGILL, 0.2)
            session.ask(LINK, FOREVER, limit_s=60)
        return work(session, item)

    done = work_through(at(device), range(3), work_or_crash)
    assert [one.value for one in done] == [0, None, 4]
    assert isinstance(done[1].fault, SessionDied)
    assert done[1].fault.signal == "SIGILL"


def test_an_item_that_is_always_late_is_tried_so_many_times(start_device: Start) -> None:
    device = start_device()

    def late(session: Session, item: int) -> int:
        if item == 0:
            session.ask(LINK, FOREVER, limit_s=0.2)
        return work(session, item)

    done = work_through(at(device), range(2), late, tries=2)
    assert isinstance(done[0].fault, DeviceTimeout)
    assert len(done[0].tries) == 1
    assert done[1].value == 1


def test_no_device_is_left(tracker: RunningDevice, three: Any) -> None:
    key, devices = three

    def kill_all(session: Session, item: int) -> int:
        for device in devices:
            device.process.kill()
            device.process.wait()
        return work(session, item)

    with pytest.raises(NoDeviceLeft, match=rf"key {key}: no device is left, with 0 of 9") as caught:
        work_through(at(tracker, key), range(9), kill_all)
    assert all(isinstance(fault, DeviceUnreachable) for fault in caught.value.faults.values())
    assert len(caught.value.faults) == 3
    assert str(caught.value).count("Connection refused") >= 3


def test_a_fault_on_one_device_is_told_beside_the_results_of_the_others(
    tracker: RunningDevice, three: Any
) -> None:
    key, _ = three

    def refuse(session: Session) -> str:
        if session.name == "rack-1":
            session.ask("edgeweave.device.open", {"stages": 3}, limit_s=20)
        return session.name

    done = {one.name: one for one in on_each(at(tracker, key), refuse)}
    assert isinstance(done["rack-1"].fault, DeviceFailure)
    assert done["rack-1"].value is None
    assert done["rack-1"].tries == ()
    assert done["rack-0"].value == "rack-0"


def test_a_fault_that_passes_is_tried_again_on_the_same_device(
    start_device: Start, interfere: Callable[..., None]
) -> None:
    device = start_device()
    first = threading.Event()
    notes: list[str] = []

    def work_or_die(session: Session) -> int:
        if not first.is_set():
            first.set()
            interfere(device, signal.SIGKILL, 0.2)
            session.ask(LINK, FOREVER, limit_s=60)
        return work(session, 3)

    (done,) = on_each(at(device), work_or_die, say=notes.append)
    assert done.value == 9
    assert "SIGKILL" in done.tries[0]
    assert "trying again" in notes[0]


def test_an_error_that_is_no_fault_of_a_device_ends_it_all(
    tracker: RunningDevice, three: Any
) -> None:
    key, devices = three

    def stumble(session: Session, item: int) -> int:
        if item == 1:
            raise LookupError("a bug")
        session.ask(LINK, FOREVER, limit_s=60)
        return item

    with pytest.raises(LookupError, match="a bug"):
        work_through(at(tracker, key), range(3), stumble)
    for device in devices:
        wait_until_free(device)


_INTERRUPTED = f"""
import sys
from edgeweave.targets.devices.address import parse_address
from edgeweave.targets.devices.pool import Place, on_each, work_through

def work(session, *item):
    # one write: print writes the end of a line apart, and other threads come between
    sys.stdout.write("begun\\n")
    sys.stdout.flush()
    return session.ask({LINK!r}, {FOREVER!r}, limit_s=600)

place = Place(parse_address(sys.argv[1]), sys.argv[2])
on_each(place, work) if sys.argv[3] == "each" else work_through(place, range(9), work)
"""


@pytest.mark.parametrize("way", ["each", "queue"])
def test_an_interrupt_ends_all_sessions(tracker: RunningDevice, three: Any, way: str) -> None:
    key, devices = three
    command = [sys.executable, "-c", _INTERRUPTED, f"{tracker.host}:{tracker.port}", key, way]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        begun_anew, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert begun_anew == ""
    assert "KeyboardInterrupt" in said
    assert "terminate called" not in said
    for device in devices:
        wait_until_free(device)
