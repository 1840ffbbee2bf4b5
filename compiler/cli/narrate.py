"""Progress on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from edgeweave.compiler.cli.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PHASES = {
    "import": "reading the model",
    "costs": "reading the cost table",
    "reference": "running the float model",
    "channels": "balancing channels",
    "sensitivity": "finding out which regions int8 hurts",
    "mixed precision": "trying which regions to leave in float",
    "check": "checking regions against ONNX Runtime",
    "plan": "placing",
    "estimate": "asking the vendor's tool about stages",
    "build": "building stages",
    "pack": "packing",
    "measure": "measuring on this machine",
    "calibrate": "calibrating",
    "run": "running",
    "verify": "verifying",
}
_PAUSE_S = 5.0  # between two lines of one phase


class Narrator(AbstractContextManager["Narrator"]):
    """Tells what is going on while it is open; called as the pipeline reports progress."""

    def __init__(self, settings: Settings) -> None:
        self._quiet = settings.quiet or sys.stderr is None
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._phase = ""
        self._told_at = 0.0

    def __enter__(self) -> Narrator:
        if not self._quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            self._bars = _bars()
            self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, phase: str, done: int, total: int, what: str) -> None:
        """Tell that ``done`` of ``total`` steps of a phase are done, and what is done now."""
        if self._quiet:
            return
        title = _PHASES.get(phase, phase)
        if self._bars is not None:
            self._move(self._bars, title, done, total, what)
        elif phase != self._phase or time.monotonic() - self._told_at > _PAUSE_S:
            count = f" {done + 1} of {total}" if total > 1 else ""
            click.echo(f"{title}{count}: {what}", err=True)
            self._told_at = time.monotonic()
        self._phase = phase

    def _move(self, bars: Progress, title: str, done: int, total: int, what: str) -> None:
        if self._task is None or bars.tasks[-1].description != title:
            if self._task is not None:
                bars.remove_task(self._task)
            self._task = bars.add_task(title, what="")
        steps = {"total": total, "completed": done} if total > 1 else {"total": None}
        bars.update(self._task, what=what, **steps)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", markup=False),
        console=Console(file=sys.stderr),
        transient=True,
    )
