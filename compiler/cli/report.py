"""``edgeweave report``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edgeweave.compiler.cli.settings import verb
from edgeweave.compiler.errors import CompileError


@verb("report", "Explain a bundle or a plan.")
@click.argument("source", metavar="BUNDLE|PLAN.json", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file instead of stdout.",
)
def command(source: Path, output: Path | None, as_json: bool) -> None:
    """Explain a bundle, or a plan that `plan --json` printed.

    Where every region went and why nowhere else, the stages, the bound, what other methods would
    have planned, how each stage was built, and what stands behind the board's numbers.
    """
    data = _read(source)
    text = json.dumps(data, indent=1, allow_nan=False) if as_json else "\n".join(_show(data))
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise CompileError(str(output), reason, "Name another file with -o") from error
    click.echo(f"wrote {output}", err=True)


def _read(source: Path) -> dict[str, Any]:
    """The plan's data and, under ``origins``, what stands behind the board's numbers."""
    if source.is_dir() or source.suffix == ".tar":
        data = _plan_of_bundle(source)
    else:
        data = _plan_of_file(source)
    return {"origins": _origins(str(data["board"]))} | data


def _plan_of_bundle(source: Path) -> dict[str, Any]:
    from edgeweave.compiler.pack import PLAN_NAME
    from edgeweave.runtime.bundle import open_bundle
    from edgeweave.runtime.errors import BundleError

    with open_bundle(source) as bundle:
        plan = bundle.root / PLAN_NAME
        if not plan.is_file():
            raise BundleError(str(source), f"holds no {PLAN_NAME}", "Compile the model again")
        return _checked(source, plan.read_bytes())


def _plan_of_file(source: Path) -> dict[str, Any]:
    try:
        return _checked(source, source.read_bytes())
    except OSError as error:
        raise click.UsageError(f"{source} cannot be read: {error.strerror}") from error


def _checked(source: Path, content: bytes) -> dict[str, Any]:
    """The JSON data of a plan; a usage error for anything else."""
    from edgeweave.partition.errors import PartitionError
    from edgeweave.partition.files.plan_json import plan_from_json

    advice = "give a bundle, or what `edgeweave plan --json` printed"
    try:
        data = json.loads(content)
        if not isinstance(data, dict):
            raise click.UsageError(f"{source} holds no plan; {advice}")
        plan_from_json(data)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{source} is no JSON; {advice}") from error
    except PartitionError as error:
        raise click.UsageError(f"{source} holds no plan: {error.reason}; {advice}") from error
    return data


def _origins(board: str) -> dict[str, int] | None:
    """Counts of the board's numbers; None for a board of a file, which is not at hand."""
    from edgeweave.compiler.cli.boards import load
    from edgeweave.compiler.cli.options import HOST
    from edgeweave.compiler.cli.result import origins
    from edgeweave.targets.board_file import bundled_boards

    return origins(load(board)) if board in (HOST, *bundled_boards()) else None


def _show(data: dict[str, Any]) -> Iterator[str]:
    from edgeweave.compiler.cli import show_plan
    from edgeweave.partition.files.plan_json import plan_from_json

    plan = plan_from_json(data)
    yield from show_plan.show_model(data, plan)
    for warning in data.get("warnings", ()):
        yield f"warning: {warning}"
    if "costs" not in data:
        yield from show_plan.show_origins(plan.board, data["origins"])
    yield from show_plan.show_plan(plan)
    yield from show_plan.show_shortfall(plan)
    if data.get("build"):
        yield from show_plan.show_build(data)
    yield from show_plan.show_placement(plan, every_region=True)
    unchecked = int(data.get("unchecked", 0))
    yield from show_plan.show_end(plan, data.get("build", ()), unchecked)
