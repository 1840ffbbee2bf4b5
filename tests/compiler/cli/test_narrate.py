"""Progress on a terminal, and elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from edgeweave.compiler.cli.narrate import Narrator
from edgeweave.compiler.cli.settings import Settings


def test_a_phase_is_told_once_and_then_now_and_then(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Narrator(Settings()) as narrator:
        for done in range(4):
            narrator("check", done, 4, f"r{done}")
            now[0] += 3.0
        narrator("pack", 0, 1, "m.bundle")
    assert capsys.readouterr().err.splitlines() == [
        "checking regions against ONNX Runtime 1 of 4: r0",
        "checking regions against ONNX Runtime 3 of 4: r2",
        "packing: m.bundle",
    ]


def test_a_quiet_narrator_says_nothing(capsys):
    with Narrator(Settings(quiet=True)) as narrator:
        narrator("pack", 0, 1, "m.bundle")
    assert capsys.readouterr() == ("", "")


SCRIPT = """
from edgeweave.compiler.cli.narrate import Narrator
from edgeweave.compiler.cli.settings import Settings
with Narrator(Settings()) as narrator:
    narrator("check", 1, 4, "r1 [Conv]")
    narrator("plan", 0, 1, "4 regions")
    if narrator._bars is not None:
        narrator._bars.refresh()
"""


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_a_terminal_gets_bars_on_stderr_and_nothing_on_stdout(terminal):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": terminal, "COLUMNS": "120"},
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other end is closed
            pass
        out = process.stdout.read()
    os.close(ours)
    assert (process.returncode, out) == (0, b"")
    assert b"placing" in shown
    assert (b"\x1b" in shown) == (terminal == "xterm")
