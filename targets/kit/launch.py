"""Starting a device program: in the foreground, or in the background for as long as it is used."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgeweave.targets.kit.errors import EmulationError
from edgeweave.targets.kit.zig import PROGRAM_NAME

START_LIMIT_S = 60.0  # an emulated program on a busy machine
STOP_LIMIT_S = 10.0
_POLL_S = 0.02
_LISTENING = re.compile(rf"^{PROGRAM_NAME}: listening on (\S+):(\d+)$", re.MULTILINE)
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_USAGE = 2  # the program's status for an option it does not take


@dataclass(frozen=True)
class Launch:
    """How a device program is started: its command, and what is added to the environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class RunningDevice:
    """A device program that waits for connections at ``host`` and ``port``."""

    host: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """All that it wrote so far, to stdout and stderr."""
        return self.log.read_text("utf-8", errors="replace")


def native_launch(kit: Path, options: Sequence[str] = ()) -> Launch:
    """Start the program of a kit that is for this machine's architecture."""
    return Launch((str(kit / "bin" / PROGRAM_NAME), *options), {})


def run_in_foreground(launch: Launch) -> int:
    """Run the program until it ends, on this process' stdout and stderr; its exit status.

    SIGINT, SIGTERM and SIGHUP are passed on to it; what does not end within 10 s after is killed.
    A program that a signal ended has that signal's number below zero, as subprocess says it.
    Must be called from the main thread. EmulationError when the program cannot be started.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # what came before there was a process to pass it on to

    def pass_on(number: int, _frame: object) -> None:
        if process is None:
            early.append(number)
            return
        process.send_signal(number)
        signal.alarm(int(STOP_LIMIT_S))

    def kill(_number: int, _frame: object) -> None:
        if process is not None:
            process.kill()

    handlers = {
        # what this process was started to ignore (nohup), it and the program go on to ignore
        **{n: pass_on for n in _PASSED_ON if signal.getsignal(n) != signal.SIG_IGN},
        signal.SIGALRM: kill,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        process = _start(launch, _descriptor(sys.stdout), _descriptor(sys.stderr))
        for number in early:
            pass_on(number, None)
        return process.wait()
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


def _descriptor(stream: IO[str] | None) -> int:
    """Where the stream really leads to; a stream in memory has no place for another program."""
    if stream is None:
        return subprocess.DEVNULL
    stream.flush()
    try:
        return stream.fileno()
    except OSError:
        return subprocess.DEVNULL


def _start(
    launch: Launch, out: int | IO[bytes], err: int | IO[bytes], own_session: bool = False
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **launch.environment},
            start_new_session=own_session,
        )
    except OSError as error:
        reason = f"cannot be started ({error.strerror or error})"
        raise EmulationError(launch.command[0], reason, "Build the kit again") from error


@contextmanager
def running(
    launch: Launch, log: Path, start_limit_s: float = START_LIMIT_S
) -> Iterator[RunningDevice]:
    """Run the program while inside; it has said where it listens when the block begins.

    Everything it writes goes to the file ``log``. At the end it gets SIGTERM, and after 10 s it
    and all that it started is killed. EmulationError with the last line it wrote when it ends
    or says nothing before ``start_limit_s``.
    """
    with log.open("wb") as sink:
        process = _start(launch, sink, subprocess.STDOUT, own_session=True)
    try:
        host, port = _wait_until_listening(launch, process, log, start_limit_s)
        yield RunningDevice(host, port, process, log)
    finally:
        _stop(process)


def _wait_until_listening(
    launch: Launch, process: subprocess.Popen[bytes], log: Path, limit_s: float
) -> tuple[str, int]:
    deadline = time.monotonic() + limit_s
    while True:
        ended = process.poll() is not None
        text = log.read_text("utf-8", errors="replace")
        found = _LISTENING.search(text)
        if found:
            return found[1], int(found[2])
        late = time.monotonic() > deadline
        if ended or late:
            lines = text.strip().splitlines() or ["it wrote nothing"]
            what = ended_reason(process.returncode) if ended else f"was not ready in {limit_s:g} s"
            raise EmulationError(launch.command[0], f"{what} ({lines[-1][:300]})", f"See {log}")
        time.sleep(_POLL_S)


def ended_reason(status: int) -> str:
    """How a program ended, in words."""
    if status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"
    return f"ended with status {status}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the program, and every process of the session that began with it."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT_S)
    for pid in _session_members(process.pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _session_members(session: int) -> Iterator[int]:
    """The processes of a session: what the program started has groups of its own, but is in it.

    /proc/PID/stat (proc(5)): after the name in parentheses come state, parent, group, session.
    """
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = entry.read_text("utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                yield int(entry.parent.name)
