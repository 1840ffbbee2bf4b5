"""Other programs, each with a deadline and with its words kept for the error message."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from edgeweave.targets.kit.errors import KitError

_LONGEST = 300  # characters of what a program said
_AFTER_KILL_S = 10


def run(
    command: Sequence[object],
    subject: str,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder to its end, or to the deadline; what it wrote is in the result.

    It runs in a process group of its own, all of which is killed at the deadline and on an
    interrupt. Raises KitError about ``subject`` when it cannot be started or takes too long.
    """
    words = [str(word) for word in command]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        reason = f"{words[0]} cannot be started ({error.strerror or error})"
        raise KitError(subject, reason, "Check that it is installed") from error
    with process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            _kill_group(process)
            program = " ".join(words[:3])
            reason = f"{program} was not done after {limit_s:.0f} s and was stopped"
            raise KitError(subject, reason, "Run it again; what was done so far is kept") from error
        except BaseException:
            _kill_group(process)
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # only what left the group could still hold a pipe
        process.communicate(timeout=_AFTER_KILL_S)


def told(text: str, marks: Sequence[str], lines: int = 3) -> str:
    """The first lines that hold one of the marks, else the last line there is; in one line."""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = [line for line in said if any(mark in line for mark in marks)][:lines] or said[-1:]
    return "; ".join(chosen)[:_LONGEST] or "it said nothing"
