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
    from edgeweave.compiler.quantize.settings import QuantizeSettings
    from edgeweave.partition.constraints import Constraints
    from edgeweave.partition.plan import Request
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


class Demand(click.ParamType[tuple[str, str]]):
    """Regions and where they belong: ``REGION=ENGINE`` or ``REGION=ENGINE/BACKEND``."""

    name = "region=engine[/backend]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Parse the text; a usage error names an example."""
        regions, _, slot = (part.strip() for part in str(value).rpartition("="))
        if not regions or not slot:
            self.fail(f"{value!r} is not a region with an engine; write r012*=npu0", param, ctx)
        return regions, slot


class Group(click.ParamType[tuple[str, ...]]):
    """Regions that belong together: ``REGION,REGION``."""

    name = "region,region"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Parse the text; a usage error names an example."""
        regions = tuple(part.strip() for part in str(value).split(","))
        if not all(regions):
            self.fail(f"{value!r} is not a list of regions; write r003*,r004*", param, ctx)
        return regions


def board_option(*, required: bool) -> Callable[..., Any]:
    """The option that names a board."""
    return click.option(
        "--board",
        required=required,
        metavar="NAME|FILE",
        help="A board that `edgeweave boards` lists, a .toml file, or host: this machine.",
    )


BOARD = board_option(required=True)


def model_file(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """The path of a file that exists and is readable; a usage error otherwise."""
    path: Path = click.Path(exists=True, dir_okay=False, path_type=Path).convert(
        value, parameter, context
    )
    return path


READING_OPTIONS = (
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
_MODEL_OPTIONS = (click.argument("model", callback=model_file), BOARD, *READING_OPTIONS)
_LIMIT_OPTIONS = (
    click.option("--budget", type=Duration(), help="Most latency of one frame, as 35ms or 1.5s."),
    click.option("--fps", type=Rate(), metavar="RATE", help="Frames per second to sustain."),
)
_SEARCH_OPTIONS = (
    click.option(
        "--objective",
        type=click.Choice(["latency", "interval", "energy"]),
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
        "--max-stages-per-engine",
        "engine_stages",
        type=click.IntRange(min=1),
        help="Most stages on one engine.",
    ),
    click.option(
        "--place",
        type=Demand(),
        multiple=True,
        metavar="REGION=ENGINE[/BACKEND]",
        help="Place a region there and nowhere else; names may hold *. May be repeated.",
    ),
    click.option(
        "--avoid",
        type=Demand(),
        multiple=True,
        metavar="REGION=ENGINE[/BACKEND]",
        help="Place a region anywhere but there; names may hold *. May be repeated.",
    ),
    click.option(
        "--together",
        type=Group(),
        multiple=True,
        metavar="REGION,REGION",
        help="Place these regions on one engine; may be repeated.",
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
        help="Write the canonical model, regions, costs and plan here. --costs reads the costs.",
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
    engine_stages: int | None = None
    place: tuple[tuple[str, str], ...] = ()
    avoid: tuple[tuple[str, str], ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    time_limit: float = 20.0
    dump: Path | None = None

    def request(self) -> Request:
        """The numbers that are asked for."""
        from edgeweave.partition.plan import Objective, Request

        default = Objective.LATENCY if self.budget is None else Objective.INTERVAL
        return Request(
            objective=default if self.objective is None else Objective(self.objective),
            budget_s=self.budget,
            max_interval_s=None if self.fps is None else 1 / self.fps,
            max_stages=self.max_stages,
            time_limit_s=self.time_limit,
        )

    def constraints(self) -> Constraints:
        """What is demanded of the placement."""
        from edgeweave.partition.constraints import Constraints, Demand

        return Constraints(
            place=tuple(Demand(*given) for given in self.place),
            avoid=tuple(Demand(*given) for given in self.avoid),
            together=self.together,
            engine_stages=self.engine_stages,
        )


def takes(
    options: tuple[Callable[..., Any], ...],
    into: type[Any],
    name: str,
    without: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options to a verb that gets their values as one object; ``without`` these fields."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(**given: Any) -> Any:
            names = [field.name for field in fields(into) if field.name not in without]
            values = {name: given.pop(name) for name in names}
            return function(**{name: into(**values)}, **given)

        for option in reversed(options):
            wrapper = option(wrapper)
        return wrapper

    return decorate


model_options = takes(_MODEL_OPTIONS, Target, "target")
search_options = takes(_SEARCH_OPTIONS, Wish, "wish", without=("budget", "fps"))
request_options = takes((*_LIMIT_OPTIONS, *_SEARCH_OPTIONS), Wish, "wish")


def find_board(name: str) -> Board | None:
    """The board of that name or file; None is this machine. Raises TargetError."""
    from edgeweave.targets.board_file import load_board

    return None if name == HOST else load_board(name)


def make_job(
    target: Target, wish: Wish | None = None, quantize: QuantizeSettings | None = None
) -> Job:
    """The job that the options ask for; a usage error or TargetError for what is unknown."""
    board = find_board(target.board)  # before anything heavy is imported
    from edgeweave.compiler.frontend.rewrites import check_names
    from edgeweave.compiler.pipeline import Job

    try:
        check_names(target.skip)
    except EdgeweaveError as error:
        raise click.UsageError(f"--skip-rewrite: {error}") from error
    names = [name for name, _ in target.shapes]
    if len(set(names)) < len(names):
        raise click.UsageError("--shape: an input is named twice; give each input one shape")
    wish = wish or Wish()
    return Job(
        model=target.model,
        board=board,
        request=wish.request(),
        constraints=wish.constraints(),
        shapes=dict(target.shapes),
        skip=target.skip,
        dump=wish.dump,
        quantize=quantize,
    )
