"""Sessions on real devices: what they answer, and a name for every way in which they end."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceFailure,
    DeviceFrozen,
    DeviceTimeout,
    DeviceUnreachable,
    LinkCut,
    SessionDied,
)
from edgeweave.targets.devices.identity import hello
from edgeweave.targets.devices.session import Options, Session, open_session, reopen
from edgeweave.targets.kit.launch import RunningDevice

Start = Callable[..., RunningDevice]
STATE = "edgeweave.device.state"
FOLDER = "tvm.rpc.server.workpath"
LINK = "edgeweave.device.measure_link"
# far longer than any test
FOREVER = {"a": [0], "b": [0], "bytes": 1 << 26, "repeats": 10000}


def at(device: RunningDevice) -> Address:
    return Address(device.host, device.port)


def still_serves(device: RunningDevice) -> bool:
    """Whether it takes a good request, after a while to clean up."""
    with open_session(at(device), Options(wait_s=20)) as session:
        return bool(session.ask(STATE, {}, limit_s=20))


@pytest.fixture
def device(start_device: Start) -> RunningDevice:
    return start_device("--name", "rack-01")


@pytest.fixture
def session(device: RunningDevice) -> Any:
    with open_session(at(device), Options(timeout_s=4)) as opened:
        yield opened


def test_questions_and_answers(session: Session) -> None:
    assert session.ask("edgeweave.device.missing", {"files": []}, limit_s=20) == {"missing": []}
    assert session.ask(STATE, {}, limit_s=20)["cpus"]
    text = session.call(STATE, limit_s=20)
    assert type(text) is str
    assert json.loads(text)["free_mib"] > 0
    assert session.name == "rack-01"


def test_a_fault_that_the_device_reports_leaves_the_session_open(session: Session) -> None:
    with pytest.raises(DeviceFailure, match=r"device rack-01 \(127.*\): ") as caught:
        session.ask("edgeweave.device.open", {"stages": 3}, limit_s=20)
    assert not caught.value.retry
    assert session.ask(STATE, {}, limit_s=20)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("no.such.function", (), "no.such.function: Module has no function 'no.such.function'"),
        (FOLDER, ("a", "b"), f"{FOLDER}: Mismatched number of arguments"),
        (STATE, (object(),), f"{STATE}: Cannot pass argument 0"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_in_one_line_and_leaves_the_session_open(
    session: Session, name: str, arguments: tuple[Any, ...], reason: str
) -> None:
    with pytest.raises(DeviceFailure) as caught:
        session.call(name, *arguments, limit_s=20)
    assert caught.value.reason.startswith(reason)
    assert "\n" not in str(caught.value)
    assert session.ask(STATE, {}, limit_s=20)


def test_an_answer_that_is_no_json(session: Session) -> None:
    with pytest.raises(DeviceFailure, match="answers with something that is no JSON"):
        session.ask(FOLDER, "a-name", limit_s=20)


def test_an_answer_that_would_have_to_be_freed_on_the_device(session: Session) -> None:
    """It is kept until the session ends: freeing it before waits with the interpreter locked."""
    for _ in range(2):
        with pytest.raises(DeviceFailure, match="SystemLib returns no number, text or bytes"):
            session.call("ffi.SystemLib", limit_s=20)
    assert session.ask(STATE, {}, limit_s=20)


def test_a_call_that_takes_too_long(device: RunningDevice, session: Session) -> None:
    with pytest.raises(
        DeviceTimeout, match=rf"rack-01.*{LINK} was not done after 0\.5 s"
    ) as caught:
        session.ask(LINK, FOREVER, limit_s=0.5)
    assert caught.value.retry
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    with pytest.raises(DeviceTimeout):  # it is over, and says why
        session.ask(STATE, {}, limit_s=20)
    assert still_serves(device)


def test_the_device_ends_a_session_at_its_limit(device: RunningDevice) -> None:
    with (
        open_session(at(device), Options(limit_s=1)) as session,
        pytest.raises(DeviceTimeout, match=r"reached its time limit.*--max-session"),
    ):
        session.ask(LINK, FOREVER, limit_s=60)
    assert still_serves(device)


@pytest.mark.parametrize(
    ("name", "cause", "retry"),
    [
        ("SIGILL", "the code uses instructions that this CPU lacks", False),
        ("SIGSEGV", "the code touched memory that is not its own", False),
        ("SIGKILL", "it was killed there, by hand or for lack of memory", True),
    ],
)
def test_a_session_that_a_signal_ends(
    device: RunningDevice,
    session: Session,
    interfere: Callable[..., None],
    name: str,
    cause: str,
    retry: bool,
) -> None:
    interfere(device, signal.Signals[name])
    with pytest.raises(
        SessionDied, match=f"was ended by {name} during {LINK}.*: {cause}"
    ) as caught:
        session.ask(LINK, FOREVER, limit_s=60)
    assert (caught.value.signal, caught.value.retry) == (name, retry)
    assert still_serves(device)


def test_a_session_that_ended_between_two_calls(
    device: RunningDevice, session: Session, interfere: Callable[..., None]
) -> None:
    interfere(device, signal.SIGKILL, 0.0)
    deadline = time.monotonic() + 20
    while hello(at(device)).busy is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(SessionDied, match="SIGKILL"):
        session.ask(STATE, {}, limit_s=20)
    assert still_serves(device)


def test_a_device_that_freezes(
    device: RunningDevice, session: Session, interfere: Callable[..., None]
) -> None:
    interfere(device, signal.SIGSTOP)
    timer = threading.Timer(0.5, device.process.send_signal, (signal.SIGSTOP,))
    timer.start()
    with pytest.raises(
        DeviceFrozen, match=rf"{LINK} was not done after 3 s, and the device does not answer"
    ):
        session.ask(LINK, FOREVER, limit_s=3)
    timer.join()
    session.close()
    device.process.send_signal(signal.SIGCONT)


def test_a_session_that_freezes_while_the_device_does_not(
    device: RunningDevice, session: Session, interfere: Callable[..., None]
) -> None:
    interfere(device, signal.SIGSTOP)
    with pytest.raises(DeviceTimeout, match="the device still runs it"):
        session.ask(LINK, FOREVER, limit_s=1.5)
    interfere(device, signal.SIGKILL, 0.0)
    assert still_serves(device)


def test_a_device_that_dies(device: RunningDevice, session: Session) -> None:
    timer = threading.Timer(0.5, device.process.kill)
    timer.start()
    with pytest.raises(
        DeviceUnreachable, match=rf"the connection broke during {LINK}, and the device cannot be"
    ):
        session.ask(LINK, FOREVER, limit_s=60)
    timer.join()
    session.close()


def test_a_link_that_is_cut(device: RunningDevice, relay: Callable[[Address], Any]) -> None:
    link = relay(at(device))
    with open_session(link.address) as session:
        timer = threading.Timer(0.5, link.cut)
        timer.start()
        with pytest.raises(
            LinkCut, match=f"the link was cut during {LINK}.*still answers"
        ) as caught:
            session.ask(LINK, FOREVER, limit_s=60)
        timer.join()
    assert caught.value.retry
    assert session.address == link.address


def test_a_session_opens_again_after_it_broke(
    device: RunningDevice, session: Session, interfere: Callable[..., None]
) -> None:
    interfere(device, signal.SIGKILL)
    with pytest.raises(SessionDied):
        session.ask(LINK, FOREVER, limit_s=60)
    with reopen(session) as second:
        assert second.ask(STATE, {}, limit_s=20)


def test_calls_of_several_threads_take_turns(session: Session) -> None:
    found: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: found.append(session.ask(STATE, {}, limit_s=60)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8


def test_a_session_that_is_closed(device: RunningDevice) -> None:
    session = open_session(at(device))
    session.close()
    session.close()
    with pytest.raises(LinkCut, match="was called after the session's end"):
        session.ask(STATE, {}, limit_s=20)
    assert still_serves(device)


def test_a_call_that_is_cut_from_another_thread(device: RunningDevice, session: Session) -> None:
    timer = threading.Timer(0.5, session.cut)
    timer.start()
    with pytest.raises(LinkCut, match=f"{LINK} was ended from here") as caught:
        session.ask(LINK, FOREVER, limit_s=60)
    timer.join()
    assert not caught.value.retry


_INTERRUPTED = f"""
import sys
from edgeweave.targets.devices.address import parse_address
from edgeweave.targets.devices.session import open_session

with open_session(parse_address(sys.argv[1])) as session:
    print("begun", flush=True)
    session.ask({LINK!r}, {FOREVER!r}, limit_s=600)
"""


def test_an_interrupt_ends_the_session(device: RunningDevice) -> None:
    command = [sys.executable, "-c", _INTERRUPTED, f"{device.host}:{device.port}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said
    assert still_serves(device)


def test_tvm_must_not_lock_the_interpreter_while_it_waits() -> None:
    code = "from edgeweave.targets.devices import rpc_client; rpc_client.load()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TVM_FFI_RELEASE_GIL_BY_DEFAULT": "0"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert "Unset TVM_FFI_RELEASE_GIL_BY_DEFAULT" in done.stderr


@pytest.mark.slow
def test_nothing_is_left_of_hundreds_of_sessions(device: RunningDevice) -> None:
    """Descriptors, threads, memory; in some sessions the call is cut short."""

    def cycle(broken: bool) -> None:
        with open_session(at(device), Options(wait_s=20)) as session:
            session.ask(STATE, {}, limit_s=20)
            session.call("edgeweave.device.missing", json.dumps({"files": []}), limit_s=20)
            if broken:
                with pytest.raises(DeviceTimeout):
                    session.ask(LINK, FOREVER, limit_s=0.05)

    ours, theirs = psutil.Process(), psutil.Process(device.process.pid)

    def held() -> tuple[int, int, int]:
        gc.collect()
        return ours.num_fds(), ours.num_threads(), theirs.num_fds()

    for index in range(20):
        cycle(broken=index == 0)
    before, memory = held(), ours.memory_info().rss
    for index in range(100):
        cycle(broken=index % 50 == 0)
    assert held() == before
    assert ours.memory_info().rss - memory < 20 << 20
