"""Sessions of the device program: what they may do, how they end, and what is left of them."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

LoadFaults = Callable[[Any], Any]

# Calls a function that never returns.
SPINNING_CLIENT = """
import sys
from tvm import rpc
port, match, library = sys.argv[1:]
session = rpc.connect("127.0.0.1", int(port), match)
session.upload(bytearray(open(library, "rb").read()), "faults.so")
faults = session.load_module("faults.so")
faults["spin"]()
"""


def assert_next_works(device: Any, load_faults: LoadFaults) -> None:
    assert device.work_folders() == []
    assert load_faults(device.tvm_session())["add"](20, 22) == 42


def test_a_session_runs_uploaded_code(device: Any, load_faults: LoadFaults) -> None:
    session = device.tvm_session()
    library = load_faults(session)
    assert library["add"](1, 2) == 3
    with pytest.raises(Exception, match="nothing"):  # an error is not the end of the session
        session.load_module("nothing.so")
    assert library["add"](3, 4) == 7
    (folder,) = device.work_folders()
    assert [path.name for path in folder.iterdir()] == ["faults.so"]
    device.close(session)
    end = device.last_end()
    assert (end["end"], end["signal"], end["status"]) == ("closed", "", 0)
    assert device.work_folders() == []


def test_a_session_works_in_its_folder(device: Any, load_faults: LoadFaults) -> None:
    session = device.tvm_session()
    assert load_faults(session)["write_file"]() == 0
    assert session.download("here") == b"here"


@pytest.mark.parametrize(
    ("function", "number"),
    [
        ("write_to_null", signal.SIGSEGV),
        ("raise_signal", signal.SIGILL),
        ("raise_signal", signal.SIGKILL),
        ("raise_signal", signal.SIGBUS),
        ("raise_signal", signal.SIGABRT),
    ],
)
def test_the_signal_that_ended_a_session_is_named(
    device: Any, load_faults: LoadFaults, function: str, number: signal.Signals
) -> None:
    library = load_faults(device.tvm_session())
    with pytest.raises(Exception, match="code=kShutdown"):
        library[function](*[int(number)] * (function == "raise_signal"))
    end = device.last_end()
    assert (end["end"], end["signal"]) == ("signal", number.name)
    assert_next_works(device, load_faults)


def test_a_status_that_ended_a_session_is_told(device: Any, load_faults: LoadFaults) -> None:
    library = load_faults(device.tvm_session())
    with pytest.raises(Exception, match="code=kShutdown"):
        library["leave"](7)
    end = device.last_end()
    assert (end["end"], end["status"]) == ("exit", 7)
    assert_next_works(device, load_faults)


def test_a_session_ends_when_its_time_is_over(device: Any, load_faults: LoadFaults) -> None:
    library = load_faults(device.tvm_session(timeout_s=2))
    with pytest.raises(Exception, match="code=kShutdown"):
        library["spin"]()
    end = device.last_end()
    assert end["end"] == "timeout"
    assert end["seconds"] >= 2
    assert_next_works(device, load_faults)


def test_a_session_that_asks_nothing_ends_in_time(device: Any) -> None:
    link = device.open(" -timeout=1")
    assert link.recv(1) == b""
    assert device.last_end()["end"] == "timeout"


def test_a_stopped_session_is_ended(device: Any) -> None:
    device.open(" -timeout=1")
    device.session_process().suspend()
    assert device.last_end()["end"] == "timeout"


def test_a_client_that_talks_nonsense_ends_its_session_only(device: Any) -> None:
    link = device.open()
    link.sendall(b"\xff" * 4096)
    assert device.hello()["busy"] is not None  # it waits for the rest of something long
    link.close()
    device.last_end()
    device.open().close()


@pytest.mark.parametrize("how", ["closed", "timeout", "killed"])
def test_what_a_session_started_ends_with_it(
    device: Any, load_faults: LoadFaults, how: str
) -> None:
    session = device.tvm_session(timeout_s=3 if how == "timeout" else 0)
    process = device.session_process()
    escaped = psutil.Process(load_faults(session)["escape"]())
    try:
        if how == "closed":
            device.close(session)
        if how == "killed":
            process.kill()
        device.last_end()
        psutil.wait_procs([escaped], timeout=30)
        assert not escaped.is_running()
    finally:
        with suppress(psutil.NoSuchProcess):
            escaped.kill()
    assert psutil.Process(device.program.process.pid).children() == []
    assert_next_works(device, load_faults)


def test_a_session_has_nothing_of_the_device_open(device: Any, load_faults: LoadFaults) -> None:
    device.dial()
    session = device.tvm_session()
    assert load_faults(session)["count_open"]() == 1  # its connection


def test_a_session_leaves_no_core_and_is_first_to_go_when_memory_runs_out(device: Any) -> None:
    device.open()
    session = device.session_process()
    # it sets these after the device has answered
    device.until(lambda: session.rlimit(psutil.RLIMIT_CORE) == (0, 0), "the limit of core files")
    score = Path(f"/proc/{session.pid}/oom_score_adj")
    device.until(lambda: score.read_text().strip() == "1000", "the score")


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", ".", "..", "", ".hidden", "x" * 201, "../../store/x"]
)
def test_a_path_out_of_the_work_folder_is_refused(device: Any, name: str) -> None:
    session = device.tvm_session()
    files = sorted(device.state.rglob("*"))
    for call in ("upload", "download", "load_module", "remove"):
        function = session.get_function(f"tvm.rpc.server.{call}")
        with pytest.raises(Exception, match="is no plain file name"):
            function(name, *[bytearray(b"x")] * (call == "upload"))
    assert sorted(device.state.rglob("*")) == files


def test_an_upload_is_limited(start: Callable[..., Any]) -> None:
    session = start("--upload-mib", "1").tvm_session()
    session.upload(bytearray(1 << 20), "fits")
    with pytest.raises(Exception, match="1048577 bytes is over the limit"):
        session.upload(bytearray((1 << 20) + 1), "large")
    assert len(session.download("fits")) == 1 << 20
    with pytest.raises(Exception, match="large"):
        session.download("large")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_device_ends_its_session(
    device: Any, load_faults: LoadFaults, number: signal.Signals
) -> None:
    load_faults(device.tvm_session())
    session = device.session_process()
    device.program.process.send_signal(number)
    assert device.program.process.wait(30) == 0
    assert not session.is_running()
    assert device.work_folders() == []


def test_a_killed_device_takes_its_session_along(start: Callable[..., Any]) -> None:
    device = start()
    link = device.open()
    session = device.session_process()
    device.program.process.kill()
    device.program.process.wait()
    assert link.recv(1) == b""
    psutil.wait_procs([session], timeout=30)
    assert not session.is_running() or session.status() == psutil.STATUS_ZOMBIE
    assert len(device.work_folders()) == 1
    again = start("--key", "again")  # in the same state folder
    assert again.work_folders() == []
    assert again.hello()["key"] == "again"


def test_a_device_that_was_frozen_goes_on(device: Any) -> None:
    os.kill(device.program.process.pid, signal.SIGSTOP)
    link = device.dial()
    os.kill(device.program.process.pid, signal.SIGCONT)
    link.close()
    device.open().close()
    assert device.last_end()["end"] == "closed"


def test_a_session_ends_soon_after_its_client(start: Callable[..., Any], faults: Path) -> None:
    device = start("--max-session", "3000")
    client = subprocess.Popen(
        [sys.executable, "-c", SPINNING_CLIENT, str(device.port), device.hello()["match"], faults]
    )
    try:
        device.until(lambda: any(device.state.glob("work/*/spinning")), "the call")
    finally:
        client.kill()
        client.wait()
    end = device.last_end()
    assert (end["end"], end["signal"]) == ("closed", "")
    assert device.work_folders() == []


@pytest.mark.parametrize("said", [b"", b"\xff", b"\xff" * 100])
def test_a_link_that_is_reset_is_no_failure_of_the_session(device: Any, said: bytes) -> None:
    link = device.open()
    link.sendall(said)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()
    end = device.last_end()
    assert (end["end"], end["status"]) == ("closed", 0)
