"""Vela in a process of its own: it crashes on bytes it does not know, the compiler may not."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any

from edgeweave.targets.npu_ethos_u.errors import VelaProcessError, VelaRejectionError

TIMEOUT_S = 180.0  # the largest networks known take about 10 s
_WORKER = "edgeweave.targets.npu_ethos_u.vela_worker"
_LONGEST = 300  # characters of what Vela said
_CRASH_ADVICE = "Keep its regions off this engine (--avoid), or install another version of Vela"


@dataclass(frozen=True)
class Answer:
    """The compiled model, Vela's report as JSON data, and what it printed meanwhile."""

    model: bytes
    report: Mapping[str, Any]
    said: str


class VelaProcess:
    """One process for many requests; a new one is started after a crash or a time-out.

    It starts with the first request and ends with ``close`` or with this process. What it prints
    goes to an unnamed file. Threads may share it: requests wait for one another.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._log: IO[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def compile(self, blob: bytes, request: Mapping[str, str], subject: str) -> Answer:
        """Compile a TFLite model; ``request`` has ``architecture``, ``system`` and ``options``.

        Raises VelaProcessError or VelaRejectionError about ``subject``.
        """
        with self._lock:
            try:
                return self._compile(blob, request, subject)
            except VelaRejectionError:
                raise
            except BaseException:  # an interrupt leaves an answer that nobody waits for
                self._stop()
                raise

    def _compile(self, blob: bytes, request: Mapping[str, str], subject: str) -> Answer:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start(subject)
        assert self._connection is not None
        assert self._folder is not None
        assert self._log is not None
        source = Path(self._folder.name, "stage.tflite")
        target = Path(self._folder.name, "stage_vela.tflite")
        begin = os.fstat(self._log.fileno()).st_size
        files = {"source": str(source), "target": str(target)}
        try:
            source.write_bytes(blob)
            reply = self._ask({**request, **files}, subject, begin)
            if "error" in reply:
                raise VelaRejectionError(
                    subject,
                    f"Vela refuses it ({' '.join(reply['error'].split())[:_LONGEST]})",
                    "Keep its regions off this engine (--avoid)",
                )
            return Answer(target.read_bytes(), reply["report"], self._said(begin))
        except OSError as error:
            raise VelaProcessError(
                subject,
                f"Vela's files in {self._folder.name} cannot be written ({error.strerror})",
                "Free some space there, or set TMPDIR to another disk",
            ) from error

    def _ask(self, request: Mapping[str, Any], subject: str, begin: int) -> dict[str, Any]:
        assert self._connection is not None
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            if self._connection.poll(self._timeout_s):
                reply: dict[str, Any] = json.loads(self._connection.recv_bytes())
                return reply
        except (EOFError, ConnectionError):
            said = self._said(begin)
            reason = f"Vela crashed: {self._how_it_ended()}{f'; it said: {said}' if said else ''}"
            raise VelaProcessError(subject, reason, _CRASH_ADVICE) from None
        raise VelaProcessError(
            subject,
            f"Vela was not done with it after {self._timeout_s:g} s and was stopped",
            "Keep some of its regions off this engine (--avoid), or allow more stages",
        )

    def _start(self, subject: str) -> None:
        ours, theirs = Pipe()
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="edgeweave-")
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
            self._process = subprocess.Popen(
                [sys.executable, "-m", _WORKER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )
        except OSError as error:
            ours.close()
            reason = f"a process for Vela cannot be started ({error.strerror or error})"
            raise VelaProcessError(
                subject, reason, "Free some memory or space in TMPDIR"
            ) from error
        finally:
            theirs.close()
        self._connection = ours
        atexit.register(self.close)

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "its process no longer answers"
        if code >= 0:
            return f"its process ended with status {code}"
        return f"its process was ended by {signal.Signals(-code).name}"

    def _said(self, begin: int) -> str:
        """What was printed since, in one line; of a traceback its last line."""
        assert self._log is not None
        file = self._log.fileno()  # not seek: the position is shared with the process that writes
        text = os.pread(file, os.fstat(file).st_size - begin, begin).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if any(line.startswith("Traceback") for line in lines):
            lines = lines[-1:]
        return "; ".join(lines)[:_LONGEST].rstrip(".")

    def close(self) -> None:
        """End the process, whatever it is doing; the next request starts another."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
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
        atexit.unregister(self.close)
