"""``edgeweave compile``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeweave.compiler.cli.options import Target, Wish, make_job, model_options, request_options
from edgeweave.compiler.cli.quantize_options import Precision, precision_options
from edgeweave.compiler.cli.settings import settings_of, verb
from edgeweave.compiler.errors import BudgetMissedError, CompileError

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Compiled, Job, Planned


@verb("compile", "Place and build a model; write a bundle.")
@model_options
@request_options
@precision_options
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="The bundle to write: a folder, or a file whose name ends in .tar.",
)
@click.option(
    "--no-reference",
    is_flag=True,
    help="Leave the original model out of the bundle, which cannot be verified then.",
)
@click.pass_context
def command(
    context: click.Context,
    target: Target,
    wish: Wish,
    precision: Precision,
    output: Path,
    no_reference: bool,
    as_json: bool,
) -> None:
    """Place MODEL on a board, build every stage and write a bundle.

    Each region that was never built before is built alone, compared with ONNX Runtime and, for
    this machine, timed; that is remembered. Exits with 4 when no plan meets the budget, and writes
    nothing then.
    """
    from edgeweave.compiler.cli.plan import print_plan, tell_warnings
    from edgeweave.compiler.publish import check_destination

    with _folder_for(output):
        check_destination(output)
        job = make_job(target, wish, precision.settings())
        planned, compiled = _compile(context, job, output, reference=not no_reference)
        if compiled is None:
            print_plan(planned, as_json=as_json, every_region=False)
            tell_warnings(context, planned)
            raise BudgetMissedError(planned)
    _print(compiled, as_json)
    tell_warnings(context, compiled.planned)


def _compile(
    context: click.Context, job: Job, output: Path, *, reference: bool
) -> tuple[Planned, Compiled | None]:
    """What was planned and, unless it does not meet the request, what was built of it."""
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.pipeline import build_bundle, plan_model

    with Narrator(settings_of(context)) as narrator:
        planned = plan_model(job, narrator, check=True)
        try:
            return planned, build_bundle(planned, output, narrator, reference=reference)
        except BudgetMissedError as error:
            return error.planned, None


@contextmanager
def _folder_for(output: Path) -> Iterator[None]:
    """Make the folder that the bundle goes into; take it away again when there is no bundle."""
    parent = output.absolute().parent
    missing = list(takewhile(lambda folder: not folder.exists(), (parent, *parent.parents)))
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"its folder {parent} cannot be made ({error.strerror})"
        raise CompileError(str(output), reason, "Write the bundle elsewhere") from error
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # something else was put there meanwhile
                folder.rmdir()
        raise


def _print(compiled: Compiled, as_json: bool) -> None:
    from edgeweave.compiler.cli import show_plan
    from edgeweave.compiler.cli.result import compiled_data
    from edgeweave.compiler.cli.text import size

    data = compiled_data(compiled)
    if as_json:
        click.echo(json.dumps(data, indent=1, allow_nan=False))
        return
    plan = compiled.planned.plan
    bundle = data["bundle"]
    for lines in (
        show_plan.show_model(data, plan),
        show_plan.show_origins(plan.board, data["origins"]),
        show_plan.show_plan(plan),
        show_plan.show_placement(plan, every_region=False),
        show_plan.show_build(data),
        ("", f"bundle: {bundle['path']}, {size(bundle['bytes'])}"),
        show_plan.show_unfinished(data),
        show_plan.show_end(plan, data["build"]),
    ):
        for line in lines:
            click.echo(line)
