"""stdout and stderr belong to edgeweave: what libraries print there is kept from the user."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TextIO

import click

from edgeweave.compiler.cli.settings import Settings

# numpy warns in the name of the module that computes; only its words tell its warnings from ours.
_NUMPY = "(invalid value|overflow|underflow|divide by zero) encountered"


@contextmanager
def own_streams(settings: Settings) -> Iterator[None]:
    """While inside, only what Python writes to ``sys.stdout`` and ``sys.stderr`` is seen.

    Libraries write to the file descriptors, which lead nowhere unless the user asked for all. Our
    own warnings become notes on stderr. stdout is flushed at the end, so that a full disk or a
    closed pipe is an error of the command.
    """
    with ExitStack() as stack:
        if not settings.verbose:
            for name, descriptor in (("stdout", 1), ("stderr", 2)):
                stack.enter_context(_apart(name, descriptor))
        stack.enter_context(_notes(settings))
        stack.enter_context(_logging(settings))
        yield
        if sys.stdout is not None:
            sys.stdout.flush()


@contextmanager
def _apart(name: str, descriptor: int) -> Iterator[None]:
    """Give ``sys.<name>`` a descriptor of its own; what others write to its old one is dropped."""
    stream: TextIO | None = getattr(sys, name)
    if stream is None or not _writes_to(stream, descriptor):
        yield
        return
    stream.flush()
    saved = os.dup(descriptor)
    own = os.fdopen(
        os.dup(descriptor),
        "w",
        buffering=1 if stream.isatty() else -1,
        encoding=stream.encoding,
        errors=stream.errors,
    )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    setattr(sys, name, own)
    try:
        yield
    finally:
        with suppress(OSError):  # flushed before, unless another error is on its way
            own.close()
        setattr(sys, name, stream)
        os.dup2(saved, descriptor)
        os.close(saved)


def _writes_to(stream: TextIO, descriptor: int) -> bool:
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError):  # a stream in memory
        return False


@contextmanager
def _notes(settings: Settings) -> Iterator[None]:
    """Show edgeweave's own warnings as notes of one line, and no others."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        note(settings, str(message))

    with warnings.catch_warnings():
        if not settings.verbose:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=RuntimeWarning, module=r"edgeweave\.")
            warnings.filterwarnings("ignore", _NUMPY, category=RuntimeWarning)
        warnings.showwarning = show
        yield


def note(settings: Settings, text: str, word: str = "note") -> None:
    """Tell the user something in one line on stderr."""
    if not settings.quiet:
        click.echo(f"{word}: {' '.join(text.split())}", err=True)


@contextmanager
def _logging(settings: Settings) -> Iterator[None]:
    """Without a handler of its own, logging prints warnings to stderr."""
    root = logging.getLogger()
    handler: logging.Handler
    handler = logging.StreamHandler(sys.stderr) if settings.verbose else logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    if settings.verbose:
        root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
