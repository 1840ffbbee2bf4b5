"""A process of its own for region checks: generated code may crash or hang, the compiler may not.

``python -m edgeweave.compiler.check_worker FD`` is the process; ``CheckWorker`` drives it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from edgeweave.compiler.check_region import CheckResult, CheckTask

TIMEOUT_S = 180.0


class CheckWorker:
    """Sends tasks to a checking process; a new one is started after a crash or a time-out.

    The process starts with the first task. What TVM writes to stderr goes to an unnamed file. Its
    temporary files lie in a folder of ours, for a process that is killed cannot remove them.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        # Found once per process, with a trial file that an interrupt in between would leave behind.
        tempfile.gettempdir()
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._log: IO[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> CheckWorker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def check(self, task: CheckTask) -> list[CheckResult]:
        """Check one region; a crash or a time-out is a result like any other."""
        connection = self._connection or self._start()
        try:
            connection.send(task)
            if connection.poll(self._timeout_s):
                results: list[CheckResult] = connection.recv()
                return results
            fault = f"no answer within {self._timeout_s:.0f} s"
        except (EOFError, OSError):
            fault = self._how_it_ended()
        self.close()
        return _failed(task, fault)

    def _start(self) -> Connection:
        with _uninterrupted():
            return self._start_process()

    def _start_process(self) -> Connection:
        ours, theirs = Pipe()
        self._folder = tempfile.TemporaryDirectory(prefix="edgeweave-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name if __spec__ else __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"TMPDIR": self._folder.name},
        )
        theirs.close()
        self._connection = ours
        return ours

    def _how_it_ended(self) -> str:
        if self._process is None:
            return "the process did not start"
        code = self._process.wait(10)
        return f"killed by signal {-code}" if code < 0 else f"the process ended with status {code}"

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._log is not None:
            self._log.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._connection = self._log = self._folder = None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let an interrupt wait: in the middle it would leave a process and a folder nobody knows of.

    The handlers are exchanged, because a blocked signal goes to the threads of other libraries and
    interrupts Python all the same. Only the main thread is ever interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []

    def wait(number: int, _frame: object) -> None:
        waiting.append(number)

    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, wait) for number in signals}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for caught in waiting:
            signal.raise_signal(caught)


def _failed(task: CheckTask, fault: str) -> list[CheckResult]:
    """The fault is counted against TVM's code; ONNX Runtime is what regions fall back to."""
    from edgeweave.compiler.check_region import CheckResult, Verdict

    return [
        CheckResult(backend, Verdict.CRASHED, fault, None)
        for backend in task.backends
        if backend != "onnxruntime"
    ]


def _serve(connection: Connection) -> None:
    from edgeweave.compiler.check_region import check_region

    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        os.sched_setaffinity(0, task.engine.cores or os.sched_getaffinity(0))
        connection.send(check_region(task))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
