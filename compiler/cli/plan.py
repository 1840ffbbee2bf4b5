"""``edgeweave plan``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from edgeweave.compiler.cli.options import Target, Wish, make_job, model_options, request_options
from edgeweave.compiler.cli.settings import settings_of, verb
from edgeweave.compiler.errors import BudgetMissedError

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Planned


@verb("plan", "Place a model on a board.")
@model_options
@request_options
@click.option(
    "--check", is_flag=True, help="First build and check each new region, as compile does."
)
@click.option("--regions", is_flag=True, help="List every region with why it is nowhere else.")
@click.pass_context
def command(
    context: click.Context, target: Target, wish: Wish, check: bool, regions: bool, as_json: bool
) -> None:
    """Place MODEL on a board and show the placement; nothing is built.

    Costs and verdicts on regions that are known from earlier runs are used. Exits with 4 when no
    plan meets the budget, and shows the best plan, the bound and what would have to change.
    """
    from edgeweave.compiler.cli.narrate import Narrator

    job = make_job(target, wish)
    from edgeweave.compiler.pipeline import plan_model

    settings = settings_of(context)
    with Narrator(settings) as narrator:
        planned = plan_model(job, narrator, check=check)
    print_plan(planned, as_json=as_json, every_region=regions)
    tell_warnings(context, planned)
    if not planned.plan.meets:
        raise BudgetMissedError(planned)


def print_plan(planned: Planned, *, as_json: bool, every_region: bool) -> None:
    """Print a plan and where its regions went."""
    from edgeweave.compiler.cli import show_plan
    from edgeweave.compiler.cli.result import planned_data

    data = planned_data(planned)
    if as_json:
        click.echo(json.dumps(data, indent=1, allow_nan=False))
        return
    plan = planned.plan
    for lines in (
        show_plan.show_model(data, plan),
        show_plan.show_origins(plan.board, data["origins"]),
        show_plan.show_plan(plan),
        show_plan.show_placement(plan, every_region=every_region),
        show_plan.show_shortfall(plan),
        show_plan.show_end(plan, unchecked=data["unchecked"]),
    ):
        for line in lines:
            click.echo(line)


def tell_warnings(context: click.Context, planned: Planned) -> None:
    """Say on stderr what is doubtful about the model and about what was remembered."""
    from edgeweave.compiler.cli.streams import note

    for text in planned.model.warnings:
        note(settings_of(context), text, word="warning")
    for text in planned.checks.notes:
        note(settings_of(context), text)
