"""What `plan` places, and what is asked of each: models or cost tables, with names and limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgeweave.compiler.cli.options import (
    READING_OPTIONS,
    Duration,
    Rate,
    Target,
    board_option,
    model_file,
    takes,
)


class Named(click.ParamType[tuple[str | None, float]]):
    """A value, or a model's name with one: ``35ms`` or ``NAME=35ms``."""

    def __init__(self, inner: click.ParamType[float]) -> None:
        self.inner = inner
        self.name = f"[name=]{inner.name}"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, float]:
        """Parse the text; what the value's own type says is wrong with it is a usage error."""
        name, given, text = str(value).rpartition("=")
        return name.strip() if given else None, self.inner.convert(text, param, ctx)


def _named(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    """Each file with its name: its own without the ending, or what stands before ``=``."""
    found = []
    for value in values:
        name, given, path = value.partition("=")
        if not given or "/" in name or not name or Path(value).exists():
            name, path = Path(value).stem, value
        # whether a table can be read is told when it is
        found.append(
            (
                name,
                Path(path) if parameter.name == "costs" else model_file(context, parameter, path),
            )
        )
    return tuple(found)


_SOURCE_OPTIONS = (
    click.argument("models", metavar="[MODEL]...", nargs=-1, callback=_named),
    board_option(required=False),
    click.option(
        "--costs",
        multiple=True,
        callback=_named,
        metavar="FILE",
        help="Place the regions of this cost table (docs/cost-table.md); no model, no board. "
        "May be repeated.",
    ),
    *READING_OPTIONS,
)
_EACH_LIMIT_OPTIONS = (
    click.option(
        "--budget",
        type=Named(Duration()),
        multiple=True,
        metavar="[NAME=]DURATION",
        help="Most latency of one frame, as 35ms or 1.5s; of one of several models as NAME=35ms.",
    ),
    click.option(
        "--fps",
        type=Named(Rate()),
        multiple=True,
        metavar="[NAME=]RATE",
        help="Frames per second to sustain; of one of several models as NAME=30.",
    ),
)


@dataclass(frozen=True)
class PlanSource:
    """What to place: models on a board, or the regions of cost tables; each with its name."""

    models: tuple[tuple[str, Path], ...]
    board: str | None
    costs: tuple[tuple[str, Path], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    skip: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models or tables; a usage error where two have the same."""
        names = tuple(name for name, _ in (*self.models, *self.costs))
        for name in names:
            if names.count(name) > 1:
                raise click.UsageError(
                    f"two models are called {name!r}; name each, as first=FILE second=FILE"
                )
        return names

    def targets(self) -> tuple[Target, ...]:
        """The models and their board; a usage error where one of them is missing.

        A shape is of one of several models when its name starts with the model's and a colon.
        """
        if not self.models:
            raise click.UsageError("Missing argument 'MODEL'. Give a model, or --costs FILE")
        if self.board is None:
            raise click.UsageError("Missing option '--board'")
        several = self.names if len(self.models) > 1 else ()
        return tuple(
            Target(path, self.board, tuple(_own(self.shapes, name, several)), self.skip)
            for name, path in self.models
        )

    def tables(self) -> tuple[Path, ...]:
        """The cost tables that are given; a usage error beside what only a model needs."""
        if not self.costs:
            return ()
        for name, given in (
            ("MODEL", self.models),
            ("--board", self.board),
            ("--shape", self.shapes),
            ("--skip-rewrite", self.skip),
        ):
            if given:
                raise click.UsageError(f"{name} does not go with --costs: a table holds all costs")
        return tuple(path for _, path in self.costs)


def _own(
    shapes: tuple[tuple[str, tuple[int, ...]], ...], name: str, names: tuple[str, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The shapes of one of several models: those with its name, and those with none."""
    for given, shape in shapes:
        model, colon, value = given.partition(":")
        if not colon or model not in names:
            yield given, shape
        elif model == name:
            yield value, shape


@dataclass(frozen=True)
class Limits:
    """Budgets in seconds and frames per second, each for the model of a name or (None) for all."""

    budget: tuple[tuple[str | None, float], ...] = ()
    fps: tuple[tuple[str | None, float], ...] = ()

    def of_each(self, names: tuple[str, ...]) -> dict[str, tuple[float | None, float | None]]:
        """Budget and rate of each model; a usage error for a model that is not there."""
        budgets, rates = _each("--budget", self.budget, names), _each("--fps", self.fps, names)
        return {name: (budgets[name], rates[name]) for name in names}


def _each(
    option: str, given: tuple[tuple[str | None, float], ...], names: tuple[str, ...]
) -> dict[str, float | None]:
    found: dict[str | None, float] = {}
    for name, value in given:
        if name is not None and name not in names:
            known = ", ".join(names)
            raise click.UsageError(f"{option}: there is no model {name!r}; there is {known}")
        if name in found:
            which = "all models" if name is None else repr(name)
            raise click.UsageError(f"{option} is given twice for {which}; give one")
        found[name] = value
    return {name: found.get(name, found.get(None)) for name in names}


source_options = takes(_SOURCE_OPTIONS, PlanSource, "source")
limit_options = takes(_EACH_LIMIT_OPTIONS, Limits, "limits")
