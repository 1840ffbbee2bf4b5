"""What every verb takes: how much to say, and in which form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click


@dataclass
class Settings:
    """How much a command says on stderr. One object per call of the command line."""

    verbose: bool = False
    quiet: bool = False
    traceback: bool = False


def _switch(name: str, *flags: str, help: str) -> click.Option:
    def turn_on(context: click.Context, _option: click.Parameter, value: bool) -> None:
        if value:
            setattr(settings_of(context), name, True)

    return click.Option(
        [*flags], is_flag=True, expose_value=False, callback=turn_on, is_eager=True, help=help
    )


def switches() -> list[click.Option]:
    """The options that the program and all of its verbs take."""
    return [
        _switch("verbose", "-v", "--verbose", help="Show what libraries print, and debug logs."),
        _switch("quiet", "-q", "--quiet", help="No progress and no notes; errors only."),
        _switch("traceback", "--traceback", help="Show where in the code an error was raised."),
    ]


def settings_of(context: click.Context) -> Settings:
    """The settings of the running command."""
    return context.find_root().ensure_object(Settings)


class Verb(click.Command):
    """A command with the options that all verbs share; it runs with the streams set up."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        form = click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON.")
        self.params += [form, *switches()]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; what libraries print stays away from the user."""
        from edgeweave.compiler.cli.streams import own_streams

        with own_streams(settings_of(ctx)):
            return super().invoke(ctx)


def verb(name: str, summary: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function the command of that name; ``summary`` is its line in the list of verbs."""
    return click.command(name, cls=Verb, short_help=summary)
