"""The device program at TVM's own tracker, and TVM's own client that gets it from there."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MAGIC, UNKNOWN, TRACKER_MAGIC = 0xFF271, 0xFF273, 0x2F271
SUMMARY, REQUEST = 6, 4
PATIENCE_S = 60.0

# What a user of TVM writes: a kernel is built, sent, run and timed.
CLIENT = """
import subprocess
import sys
import numpy as np
import tvm
from tvm import rpc, te as expressions  # codespell:ignore te

host, port, key, folder = sys.argv[1:]
x = expressions.placeholder((64,), name="x")
y = expressions.compute((64,), lambda i: x[i] * 2.0 + 1.0, name="y")
built = tvm.compile(expressions.create_prim_func([x, y]), target="llvm")
LINK = [sys.executable, "-m", "ziglang", "ld.lld", "-shared", "-o"]
def linked(path, objects, options=None):
    subprocess.run([*LINK, path, *objects], check=True)
built.export_library(f"{folder}/kernel.so", fcompile=linked)
session = rpc.connect_tracker(host, int(port)).request(key, session_timeout=50)
session.upload(f"{folder}/kernel.so")
library = session.load_module("kernel.so")
here = np.arange(64, dtype="float32")
given, made = (tvm.runtime.tensor(a, session.cpu(0)) for a in (here, np.zeros_like(here)))
library["main"](given, made)
np.testing.assert_array_equal(made.numpy(), here * 2 + 1)
times = library.time_evaluator("main", session.cpu(0), number=3, repeat=2)(given, made).results
assert len(times) == 2 and min(times) > 0
print("served")
"""


@dataclass
class RunningTracker:
    """TVM's tracker, which can be ended and started again at the same port."""

    port: int
    process: subprocess.Popen[bytes]

    def ask(self, message: list[Any]) -> Any:
        """What it replies to a message."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as link:
            link.sendall(struct.pack("<i", TRACKER_MAGIC))  # alone, or the tracker hangs up
            assert link.recv(4, socket.MSG_WAITALL) == struct.pack("<i", TRACKER_MAGIC)
            said = json.dumps(message).encode()
            link.sendall(struct.pack("<i", len(said)) + said)
            size = struct.unpack("<i", link.recv(4, socket.MSG_WAITALL))[0]
            return json.loads(link.recv(size, socket.MSG_WAITALL))

    def free(self, key: str) -> int:
        """How many devices it would give away for a key."""
        queue = self.ask([SUMMARY])[1]["queue_info"].get(key)
        return queue["free"] if queue else 0

    def signal(self, number: signal.Signals) -> None:
        """To it, and to the process of its own that does the work."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()


StartTracker = Callable[..., RunningTracker]


@pytest.fixture
def start_tracker(tmp_path: Path) -> Iterator[StartTracker]:
    """Start TVM's tracker at a port, or at a free one; it ends with the test."""
    with ExitStack() as stack:

        def start(port: int = 0) -> RunningTracker:
            port = port or free_port()
            command = [sys.executable, "-m", "tvm.exec.rpc_tracker", "--host", "127.0.0.1"]
            log = stack.enter_context((tmp_path / "tracker.log").open("ab"))
            process = subprocess.Popen(
                [*command, "--port", str(port), "--port-end", str(port + 1)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            tracker = RunningTracker(port, process)
            stack.callback(tracker.end)
            return tracker

        yield start


@pytest.fixture
def tracker(start_tracker: StartTracker) -> RunningTracker:
    return start_tracker()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def at(port: int, host: str = "127.0.0.1") -> tuple[str, ...]:
    return ("--tracker", f"{host}:{port}", "--key", "rack", "--advertise", "127.0.0.1")


def registered(device: Any, tracker: RunningTracker, count: int = 1) -> bool:
    def look() -> bool:
        try:
            return tracker.free("rack") == count
        except ConnectionError:
            return False  # it is being started

    return bool(device.until(look, "the device to be registered"))


@pytest.mark.slow
def test_tvms_own_client_is_served(
    start: Callable[..., Any], tracker: RunningTracker, tmp_path: Path
) -> None:
    device = start(*at(tracker.port))
    registered(device, tracker)
    for _ in range(2):  # the second with another key
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, "127.0.0.1", str(tracker.port), "rack", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.stdout == "served\n", done.stderr
        assert device.last_end()["end"] == "closed"
        registered(device, tracker)
    info = tracker.ask([SUMMARY])[1]["server_info"]
    assert info == [{"key": "server:rack", "addr": ["127.0.0.1", device.port]}]


def test_a_grant_opens_a_session_and_the_next_has_another_key(
    start: Callable[..., Any], tracker: RunningTracker
) -> None:
    device = start(*at(tracker.port))
    registered(device, tracker)
    _, (host, port, match) = tracker.ask([REQUEST, "rack", "", 1])
    assert (host, port) == ("127.0.0.1", device.port)
    session = device.open(match=match)
    assert tracker.free("rack") == 0
    session.close()
    registered(device, tracker)
    assert device.greet(f"client:{match}")[1] == UNKNOWN


@pytest.mark.slow
def test_an_unused_grant_is_replaced(start: Callable[..., Any], tracker: RunningTracker) -> None:
    device = start(*at(tracker.port))
    registered(device, tracker)
    tracker.ask([REQUEST, "rack", "", 1])
    assert tracker.free("rack") == 0
    registered(device, tracker)


def test_a_device_in_a_direct_session_is_not_given_away(
    start: Callable[..., Any], tracker: RunningTracker
) -> None:
    device = start(*at(tracker.port))
    registered(device, tracker)
    session = device.open()
    device.until(lambda: tracker.free("rack") == 0, "the device to be withdrawn")
    info = tracker.ask([SUMMARY])[1]["server_info"]
    device.until(lambda: tracker.ask([SUMMARY])[1]["server_info"], "the device to be back")
    assert info in ([], [{"key": "server:rack", "addr": ["127.0.0.1", device.port]}])
    assert tracker.free("rack") == 0
    session.close()
    registered(device, tracker)
    # a line for each session would be noise
    assert device.program.said().count("registered as rack") == 1


@pytest.mark.slow
def test_a_tracker_that_ends_and_comes_back(
    start: Callable[..., Any], start_tracker: StartTracker
) -> None:
    first = start_tracker()
    device = start(*at(first.port))
    registered(device, first)
    first.end()
    device.open().close()  # the device serves without it
    lost = "registered as rack\n.*; trying again"
    device.until(lambda: re.search(lost, device.program.said(), re.DOTALL), "the log")
    registered(device, start_tracker(first.port))
    assert device.program.said().count("registered as rack") == 2


def test_a_tracker_that_comes_later(start: Callable[..., Any], start_tracker: StartTracker) -> None:
    port = free_port()
    device = start(*at(port))
    device.open().close()
    device.until(lambda: "it cannot be reached" in device.program.said(), "the log")
    registered(device, start_tracker(port))


@pytest.mark.slow
def test_a_frozen_tracker_costs_nothing(start: Callable[..., Any], tracker: RunningTracker) -> None:
    device = start(*at(tracker.port))
    registered(device, tracker)
    tracker.signal(signal.SIGSTOP)
    device.until(lambda: "it does not answer" in device.program.said(), "the log")
    for _ in range(5):
        device.open().close()
        device.last_end()
    tracker.signal(signal.SIGCONT)
    registered(device, tracker)


def test_a_key_vanishes_with_its_device(start: Callable[..., Any], tracker: RunningTracker) -> None:
    device = start(*at(tracker.port))
    registered(device, tracker)
    device.program.process.kill()
    device.until(lambda: tracker.free("rack") == 0, "the key to vanish")


def test_a_key_vanishes_even_while_a_session_runs(
    start: Callable[..., Any], tracker: RunningTracker
) -> None:
    device = start(*at(tracker.port))
    registered(device, tracker)
    device.open()
    device.until(lambda: tracker.ask([SUMMARY])[1]["server_info"], "the device to be back")
    device.program.process.kill()
    device.until(lambda: not tracker.ask([SUMMARY])[1]["server_info"], "the device to vanish")


def test_two_devices_have_one_key(start: Callable[..., Any], tracker: RunningTracker) -> None:
    devices = [start(*at(tracker.port), state=name) for name in ("a", "b")]
    registered(devices[0], tracker, 2)
    ports = {tracker.ask([REQUEST, "rack", "", 1])[1][1] for _ in devices}
    assert ports == {device.port for device in devices}


def test_a_tracker_is_found_by_name(start: Callable[..., Any], tracker: RunningTracker) -> None:
    registered(start(*at(tracker.port, "localhost")), tracker)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "[::1]"])
def test_a_tracker_that_nobody_knows(start: Callable[..., Any], host: str) -> None:
    device = start(*at(free_port(), host))
    device.open().close()
    reasons = ("there is no host of that name", "it cannot be reached", "not found in time")
    device.until(lambda: any(reason in device.program.said() for reason in reasons), "the log")


def test_what_is_no_tracker(start: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            link, _ = other.accept()
            with link:
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        device = start(*at(other.getsockname()[1]))
        device.until(lambda: "it is no TVM tracker" in device.program.said(), "the log")
        thread.join()
    device.open().close()
