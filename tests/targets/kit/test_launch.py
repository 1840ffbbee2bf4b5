"""Starting device programs; shell scripts stand in for them, so that every way to end is tried."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgeweave.targets.kit.errors import EmulationError
from edgeweave.targets.kit.launch import (
    Launch,
    ended_reason,
    native_launch,
    run_in_foreground,
    running,
)

LISTENS = "echo edgeweave-device: listening on 127.0.0.1:4321\n"


def script(text: str) -> Launch:
    return Launch(("sh", "-c", text), {"WORD": "passed on"})


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_kits_program_is_started_itself(tmp_path) -> None:
    launch = native_launch(tmp_path, ["--port", "0"])
    assert launch.command == (f"{tmp_path}/bin/edgeweave-device", "--port", "0")


def test_it_listens_when_the_block_begins_and_is_gone_after(tmp_path) -> None:
    text = f"echo starting >&2; sleep 0.2; {LISTENS} echo $WORD; exec sleep 600"
    with running(script(text), tmp_path / "log") as device:
        assert (device.host, device.port) == ("127.0.0.1", 4321)
        wait_until(lambda: "passed on" in device.said())
        assert device.said().splitlines()[0] == "starting"
        pid = device.process.pid
        assert is_running(pid)
    assert not is_running(pid)


def test_an_address_with_colons_is_read_whole(tmp_path) -> None:
    text = "echo 'edgeweave-device: listening on ::1:77'; exec sleep 600"
    with running(script(text), tmp_path / "log") as device:
        assert (device.host, device.port) == ("::1", 77)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo first; echo port 9090 is taken >&2; exit 1", r"status 1 \(port 9090 is taken\)"),
        ("exit 0", r"ended with status 0 \(it wrote nothing\)"),
        ("kill -ILL $$", r"was ended by SIGILL"),
    ],
)
def test_a_program_that_ends_at_once_is_told_with_its_last_words(text, told, tmp_path) -> None:
    with (
        pytest.raises(EmulationError, match=told) as caught,
        running(script(text), tmp_path / "log"),
    ):
        pass
    assert str(tmp_path / "log") in caught.value.next_step


def test_a_program_that_never_listens_is_stopped_at_the_deadline(tmp_path) -> None:
    text = f"echo $$ >{tmp_path}/pid; exec sleep 600"
    with (
        pytest.raises(EmulationError, match=r"was not ready in 0\.5 s"),
        running(script(text), tmp_path / "log", start_limit_s=0.5),
    ):
        pass
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_program_that_is_not_there_is_told(tmp_path) -> None:
    with (
        pytest.raises(EmulationError, match="cannot be started") as caught,
        running(native_launch(tmp_path), tmp_path / "log"),
    ):
        pass
    assert caught.value.subject == f"{tmp_path}/bin/edgeweave-device"


def test_all_that_the_program_started_ends_with_it(tmp_path, monkeypatch) -> None:
    """Even what has a process group of its own, and what takes no notice of SIGTERM."""
    monkeypatch.setattr("edgeweave.targets.kit.launch.STOP_LIMIT_S", 0.5)
    child = (
        "import os, signal, time; os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()) + '\\n'); time.sleep(600)"
    )
    (tmp_path / "child.py").write_text(child)
    text = (
        f"trap '' TERM; {sys.executable} {tmp_path}/child.py & {LISTENS} while :; do sleep 1; done"
    )
    pid_file = tmp_path / "pid"
    with running(script(text), tmp_path / "log") as device:
        wait_until(lambda: pid_file.is_file() and pid_file.read_text().endswith("\n"))
        pids = [int(pid_file.read_text()), device.process.pid]
        assert all(map(is_running, pids))
    wait_until(lambda: not any(map(is_running, pids)))


def test_an_error_inside_the_block_ends_the_program_too(tmp_path) -> None:
    pids = []

    def fail() -> None:
        with running(script(f"{LISTENS} exec sleep 600"), tmp_path / "log") as device:
            pids.append(device.process.pid)
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert not is_running(pids[0])


def test_a_program_that_was_killed_inside_the_block_is_no_error(tmp_path) -> None:
    with running(script(f"{LISTENS} exec sleep 600"), tmp_path / "log") as device:
        device.process.kill()
        assert device.process.wait(30) == -signal.SIGKILL


FOREGROUND = """
import sys
from edgeweave.targets.kit import launch
launch.STOP_LIMIT_S = 1
print(launch.run_in_foreground(launch.Launch(("sh", "-c", sys.argv[1]), {})))
"""


@contextmanager
def foreground(text: str, *before: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a script in its foreground; all of it ends with the block."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", FOREGROUND, text], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_in_the_foreground_signals_are_passed_on(number) -> None:
    name = number.name.removeprefix("SIG")
    text = f"trap 'echo got {name}; exit 0' {name}; echo ready; while :; do sleep 0.05; done"
    with foreground(text) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == (f"got {name}\n0\n", "", 0)


def test_in_the_foreground_a_program_that_does_not_stop_is_killed() -> None:
    with foreground("trap '' TERM; echo ready; while :; do sleep 0.05; done") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert out == f"{-signal.SIGKILL}\n"


def test_in_the_foreground_of_nohup_a_hangup_is_ignored() -> None:
    text = "echo ready; sleep 0.3; echo done"
    with foreground(text, "sh", "-c", 'trap "" HUP; exec "$@"', "sh") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGHUP)
        out, _ = process.communicate(timeout=60)
    assert out == "done\n0\n"


def test_in_the_foreground_the_status_and_both_streams_are_the_programs() -> None:
    with foreground("echo out; echo err >&2; exit 3") as process:
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("out\n3\n", "err\n")


def test_in_the_foreground_the_handlers_are_put_back(capsys) -> None:
    """And a stream in memory, as here, gets nothing instead of an error."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    assert run_in_foreground(script("echo lost; exit 5")) == 5
    assert [signal.getsignal(number) for number in numbers] == before
    assert os.environ.get("WORD") is None
    assert capsys.readouterr() == ("", "")


def test_how_a_program_ended_is_told_in_words() -> None:
    assert ended_reason(2) == "ended with status 2"
    assert ended_reason(-9) == "was ended by SIGKILL"
    assert ended_reason(-99) == "was ended by signal 99"
