"""Options that several verbs share, and the types of their values."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.runtime.errors import EdgeweaveError

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Job
    from edgeweave.targets.board import Board

HOST = "host"
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_INFINITY = float("inf")


class Duration(click.ParamType[float]):
    """A duration with its unit, in seconds: ``35ms``, ``1.5s``, ``200us``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the text; a usage error names examples."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?(s|ms|us|µs)", str(value).strip())
        seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
        if not 0 < seconds < _INFINITY:
            self.fail(
                f"{value!r} is not a duration above 0 with its unit; write 35ms, 1.5s or 200us",
                param,
                ctx,
            )
        return seconds


class Rate(click.ParamType[float]):
    """A number of frames per second."""

    name = "fps"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the text; a usage error names an example."""
        try:
            rate = float(value)
        except ValueError:
            rate = 0.0
        if not 0 < rate < _INFINITY:
            self.fail(f"{value!r} is not a number of frames per second; write 30", param, ctx)
        return rate


class Tolerance(click.ParamType[float]):
    """A difference that is allowed: finite and not below 0."""

    name = "tolerance"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the text; a usage error names an example."""
        try:
            allowed = float(value)
        except ValueError:
            allowed = -1.0
        if not 0 <= allowed < _INFINITY:
            self.fail(f"{value!r} is not a tolerance; write 0.001", param, ctx)
        return allowed


class Shape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """The shape of an input: ``name=1,3,224,224``; ``name=`` is a scalar."""

    name = "name=shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        """Parse the text; a usage error names an example."""
        name, _, written = str(value).rpartition("=")
        sizes = written.split(",") if written else []
        if not name or not all(re.fullmatch("[0-9]+", size.strip()) for size in sizes):
            self.fail(f"{value!r} is not a shape; write name=1,3,224,224", param, ctx)
        return name, tuple(int(size) for size in sizes)


BOARD = click.option(
    "--board",
    required=True,
    metavar="NAME|FILE",
    help="A board that `edgeweave boards` lists, a .toml file, or host: this machine.",
)


def model_file(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """The path of a file that exists and is readable; a usage error otherwise."""
    path: Path = click.Path(exists=True, dir_okay=False, path_type=Path).convert(
        value, parameter, context
    )
    return path


_MODEL_OPTIONS = (
    click.argument("model", callback=model_file),
    BOARD,
    click.option(
        "--shape",
        "shapes",
        type=Shape(),
        multiple=True,
        help="Fix the shape of an input; may be repeated.",
    ),
    click.option(
        "--skip-rewrite",
        "skip",
        multiple=True,
        metavar="NAME",
        help="Leave out a rewrite of the front end; may be repeated. The output names them.",
    ),
)
_REQUEST_OPTIONS = (
    click.option("--budget", type=Duration(), help="Most latency of one frame, as 35ms or 1.5s."),
    click.option("--fps", type=Rate(), metavar="RATE", help="Frames per second to sustain."),
    click.option(
        "--objective",
        type=click.Choice(["latency", "interval"]),
        help="What to minimise. Without it: the interval when --budget is given, else the latency.",
    ),
    click.option(
        "--max-stages",
        type=click.IntRange(min=1),
        default=4,
        show_default=True,
        help="Most stages of the plan.",
    ),
    click.option(
        "--time-limit",
        type=Duration(),
        default="20s",
        show_default=True,
        help="Time for the search; it ends with the best plan so far and a proven bound.",
    ),
    click.option(
        "--dump",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Write the canonical model, regions, costs and plan here.",
    ),
)


@dataclass(frozen=True)
class Target:
    """The model to read, how to read it, and the board it is for."""

    model: Path
    board: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    skip: tuple[str, ...]


@dataclass(frozen=True)
class Wish:
    """What is asked of the plan, and the folder that its making is written to."""

    budget: float | None = None
    fps: float | None = None
    objective: str | None = None
    max_stages: int = 4
    time_limit: float = 20.0
    dump: Path | None = None


def _takes(
    options: tuple[Callable[..., Any], ...], into: type[Any], name: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options to a verb that gets their values as one object."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(**given: Any) -> Any:
            values = {field.name: given.pop(field.name) for field in fields(into)}
            return function(**{name: into(**values)}, **given)

        for option in reversed(options):
            wrapper = option(wrapper)
        return wrapper

    return decorate


model_options = _takes(_MODEL_OPTIONS, Target, "target")
request_options = _takes(_REQUEST_OPTIONS, Wish, "wish")


def find_board(name: str) -> Board | None:
    """The board of that name or file; None is this machine. Raises TargetError."""
    from edgeweave.targets.board_file import load_board

    return None if name == HOST else load_board(name)


def make_job(target: Target, wish: Wish | None = None) -> Job:
    """The job that the options ask for; a usage error or TargetError for what is unknown."""
    board = find_board(target.board)  # before anything heavy is imported
    from edgeweave.compiler.frontend.rewrites import check_names
    from edgeweave.compiler.pipeline import Job
    from edgeweave.partition.plan import Objective, Request

    try:
        check_names(target.skip)
    except EdgeweaveError as error:
        raise click.UsageError(f"--skip-rewrite: {error}") from error
    names = [name for name, _ in target.shapes]
    if len(set(names)) < len(names):
        raise click.UsageError("--shape: an input is named twice; give each input one shape")
    wish = wish or Wish()
    default = Objective.LATENCY if wish.budget is None else Objective.INTERVAL
    return Job(
        model=target.model,
        board=board,
        request=Request(
            objective=default if wish.objective is None else Objective(wish.objective),
            budget_s=wish.budget,
            max_interval_s=None if wish.fps is None else 1 / wish.fps,
            max_stages=wish.max_stages,
            time_limit_s=wish.time_limit,
        ),
        shapes=dict(target.shapes),
        skip=target.skip,
        dump=wish.dump,
    )
