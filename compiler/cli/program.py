"""The program: a group whose verbs are modules that are imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from edgeweave.compiler.cli.settings import switches

# Each is a module of this package that holds a command of the same name, in the order of use.
VERBS = (
    "boards",
    "rules",
    "plan",
    "compile",
    "simulate",
    "run",
    "deploy",
    "profile",
    "device",
    "report",
)

_HELP = """Split an ONNX model across a board's engines within a latency budget.

The result goes to stdout, narration to stderr.
"""
_EPILOG = """\b
Exit status:
  0    done
  1    a bug of edgeweave
  2    the command line is wrong: an option, a value, a path
  3    the board or the backend is unknown or malformed
  4    no plan meets the budget
  5    a bundle is damaged, a run of it failed, or a device did
  6    the model cannot be compiled, or the result cannot be written
  7    verification failed
  130  interrupted
"""


class Program(click.Group):
    """Knows its verbs by name, and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of that name, or None when there is none."""
        if cmd_name not in VERBS:
            return None
        module: Any = import_module(f"edgeweave.compiler.cli.{cmd_name}")
        command: click.Command = module.command
        return command


def _show_version(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"edgeweave {version('edgeweave')}")
        context.exit()


program = Program(
    "edgeweave",
    help=_HELP,
    epilog=_EPILOG,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        ),
        *switches(),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
