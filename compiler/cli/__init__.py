"""The command line. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

import click

from edgeweave.compiler.cli.errors import ExitStatus, exit_status, message, no_room
from edgeweave.compiler.cli.program import program
from edgeweave.compiler.cli.settings import Settings
from edgeweave.runtime.errors import EdgeweaveError

__all__ = ["main", "program"]

_NAME = "edgeweave"
_DEVICE_THREAD = "edgeweave-device"  # as targets.devices.crew names them


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; every error becomes one message."""
    if "_EDGEWEAVE_COMPLETE" in os.environ:
        program.main(prog_name=_NAME)  # writes the shell's completion script and exits
    given = list(sys.argv[1:] if arguments is None else arguments)
    settings = Settings()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = _run(given, settings)
        _flush()
    except BrokenPipeError:
        _forget_stdout()
        return ExitStatus.BROKEN_PIPE
    except KeyboardInterrupt:
        _say("interrupted")
        _leave_threads(ExitStatus.INTERRUPTED)
        return ExitStatus.INTERRUPTED
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else ExitStatus.BUG
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it is told
        return _tell(error, settings)
    return status


def _leave_threads(status: ExitStatus) -> None:
    """End at once where a device's thread is still at work inside of TVM.

    The interpreter would end that thread on its way out, which C++ answers with an abort.
    """
    if any(thread.name.startswith(_DEVICE_THREAD) for thread in threading.enumerate()):
        _flush()
        os._exit(status)


def _terminate(_signal: int, _frame: object) -> None:
    """End as after an interrupt: what is half done is removed on the way out."""
    sys.exit(ExitStatus.TERMINATED)


def _run(arguments: list[str], settings: Settings) -> int:
    try:
        with program.make_context(_NAME, arguments, obj=settings) as context:
            program.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    return ExitStatus.OK


def _tell(error: Exception, settings: Settings) -> int:
    """Say what happened on stderr; the exit status."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if settings.traceback:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, EdgeweaveError):
        _say(f"error: {message(error)}")
        return exit_status(error)
    told = no_room(error) if isinstance(error, OSError) else None
    if told is not None:
        _forget_stdout()
        _say(f"error: {told}")
        return ExitStatus.COMPILE
    text = " ".join(str(error).split())[:500]
    hint = "" if settings.traceback else "; run it again with --traceback and report what it prints"
    _say(f"internal error: {type(error).__name__}: {text}{hint}")
    return ExitStatus.BUG


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:  # nobody listens
        return


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _forget_stdout() -> None:
    """Keep the interpreter from writing what is left in stdout's buffer when it ends."""
    if sys.stdout is None:
        return
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
