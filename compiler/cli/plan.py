"""``edgeweave plan``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.options import Wish, make_job, search_options
from edgeweave.compiler.cli.plan_source import Limits, PlanSource, limit_options, source_options
from edgeweave.compiler.cli.quantize_options import Precision, precision_options
from edgeweave.compiler.cli.settings import settings_of, verb
from edgeweave.compiler.errors import BudgetMissedError

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Job, Planned
    from edgeweave.partition.plan import Plan


@verb("plan", "Place models, or cost tables, on a board.")
@source_options
@limit_options
@search_options
@precision_options
@click.option(
    "--check", is_flag=True, help="First build and check each new region, as compile does."
)
@click.option("--regions", is_flag=True, help="List every region with why it is nowhere else.")
@click.option("--compare", is_flag=True, help="Show only what other methods make of the costs.")
@click.pass_context
def command(
    context: click.Context,
    source: PlanSource,
    limits: Limits,
    wish: Wish,
    precision: Precision,
    check: bool,
    regions: bool,
    compare: bool,
    as_json: bool,
) -> None:
    """Place MODEL on a board and show the placement; nothing is built.

    With --costs the regions of a cost table are placed, and neither a model nor a board is needed.
    Costs and verdicts on regions of a model that are known from earlier runs are used. Exits with 4
    when no plan meets the budget, and shows the best plan, the bound and what would have to change.

    Several models, or tables, are placed together on one board (docs/several-models.md). The name
    of each is that of its file without the ending, or NAME where it is given as NAME=FILE.
    """
    tables = source.tables()
    if tables and check:
        raise click.UsageError("--check does not go with --costs: there is nothing to build")
    quantize = precision.settings()
    if quantize is not None and (tables or len(source.names) > 1):
        raise click.UsageError(
            "--quantize takes one MODEL; of several, each may be quantised already"
        )
    targets = () if tables else source.targets()
    each = limits.of_each(source.names)
    form = _Form(as_json, regions, compare)
    if len(each) > 1:
        from edgeweave.compiler.cli.plan_several import Several, place_several

        several = Several(each, targets, tables, wish, check=check)
        place_several(context, several, as_json=as_json, every_region=regions, compare=compare)
        return
    ((budget, fps),) = each.values()
    wish = replace(wish, budget=budget, fps=fps)
    if tables:
        _place_table(context, tables[0], wish, form)
    else:
        _place_model(context, make_job(targets[0], wish, quantize), check, form)


@dataclass(frozen=True)
class _Form:
    """How a plan is printed: as JSON, with every region, or its comparison with others alone."""

    as_json: bool
    every_region: bool = False
    compare: bool = False


def _place_model(context: click.Context, job: Job, check: bool, form: _Form) -> None:
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.pipeline import plan_model

    with Narrator(settings_of(context)) as narrator:
        planned = plan_model(job, narrator, check=check)
    _print_planned(planned, form)
    tell_warnings(context, planned, shown=not form.compare)
    if not planned.plan.meets:
        raise BudgetMissedError(planned)


def _place_table(context: click.Context, path: Path, wish: Wish, form: _Form) -> None:
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.cli.result import table_data
    from edgeweave.compiler.dump import Dump
    from edgeweave.partition.constraints import constrain
    from edgeweave.partition.errors import PartitionError
    from edgeweave.partition.files.table_json import read_table
    from edgeweave.partition.solve import solve

    dump = Dump(wish.dump)
    with Narrator(settings_of(context)) as narrator:
        narrator("costs", 0, 1, str(path))
        table = dump.table(constrain(read_table(path), wish.constraints()))
        narrator("plan", 0, 1, f"{len(table.regions)} regions on {len(table.slots)} slots")
        plan = dump.plan(solve(table, wish.request(), path.name))
    _print(table_data(plan), plan, form, _table_lines)
    if not plan.meets:
        raise PartitionError(path.name, "no plan meets the request", " ".join(plan.shortfall[:1]))


def print_plan(planned: Planned, *, as_json: bool, every_region: bool) -> None:
    """Print a plan and where its regions went."""
    _print_planned(planned, _Form(as_json, every_region))


def _print_planned(planned: Planned, form: _Form) -> None:
    from edgeweave.compiler.cli.result import planned_data

    data = planned_data(planned) | {"devices": _devices_data(planned)}
    _print(data, planned.plan, form, _model_lines)


def _devices_data(planned: Planned) -> dict[str, Any]:
    """What the plan took from devices of its board, and what it left out."""
    facts = planned.checks.facts
    if facts is None:
        return {"used": [], "emulated_left_out": 0, "stale_left_out": 0, "notes": []}
    uses = facts.uses(planned.regions.graph.regions)
    return {
        "used": [asdict(use) | {"described": str(use.device)} for use in uses],
        "emulated_left_out": facts.emulated,
        "stale_left_out": facts.stale,
        "notes": list(facts.notes),
    }


def _print(
    data: Mapping[str, Any],
    plan: Plan,
    form: _Form,
    lines: Callable[[Mapping[str, Any], Plan, _Form], Iterator[str]],
) -> None:
    from edgeweave.compiler.cli.compare import show_comparison

    if form.as_json:
        click.echo(json.dumps(data, indent=1, allow_nan=False))
        return
    for line in show_comparison(plan) if form.compare else lines(data, plan, form):
        click.echo(line)


def _model_lines(data: Mapping[str, Any], plan: Plan, form: _Form) -> Iterator[str]:
    from edgeweave.compiler.cli import show_plan

    yield from show_plan.show_model(data, plan)
    yield from show_plan.show_origins(plan.board, data["origins"])
    yield from show_plan.show_devices(data["devices"])
    yield from show_plan.show_plan(plan)
    yield from show_plan.show_estimated(data)
    yield from show_plan.show_placement(plan, every_region=form.every_region)
    yield from show_plan.show_shortfall(plan)
    yield from show_plan.show_end(plan, unchecked=data["unchecked"])


def _table_lines(data: Mapping[str, Any], plan: Plan, form: _Form) -> Iterator[str]:
    from edgeweave.compiler.cli import show_plan

    yield from show_plan.show_table(plan)
    yield from show_plan.show_plan(plan)
    yield from show_plan.show_placement(plan, every_region=form.every_region)
    yield from show_plan.show_shortfall(plan)
    if "fallbacks" in data:
        yield from show_plan.show_end(plan)


def tell_warnings(context: click.Context, planned: Planned, *, shown: bool = False) -> None:
    """Say on stderr what is doubtful about the model and about what was remembered.

    ``shown`` tells that the result itself says which figures were left out.
    """
    from edgeweave.compiler.cli.streams import note

    for text in planned.model.warnings:
        note(settings_of(context), text, word="warning")
    idle = _integer_engines(planned)
    if idle:
        text = f"{' and '.join(idle)} can take regions in int8: --quantize int8"
        note(settings_of(context), text)
    for text in _lacking(planned):
        note(settings_of(context), text)
    facts = planned.checks.facts
    for text in planned.checks.notes:
        if not shown or facts is None or text not in facts.notes:
            note(settings_of(context), text)


def _integer_engines(planned: Planned) -> list[str]:
    """Engines that compute in int8 and refuse every region of a float model for its precision."""
    from edgeweave.targets.rules import PRECISION_RULE, installed_backend

    refused: dict[str, set[str]] = {}
    for placement in planned.plan.placements:
        for other in placement.alternatives:
            refused.setdefault(other.slot.engine, set()).add(other.rule)
    return [
        engine.name
        for engine in planned.board.engines
        if "int8" in engine.peak_gops
        and refused.get(engine.name) == {PRECISION_RULE.id}
        and any(installed_backend(name) for name in engine.backends)
    ]


def _lacking(planned: Planned) -> list[str]:
    """What has to be installed before the plan's stages can be estimated and built."""
    from edgeweave.targets.registry import find_backend

    backends = dict.fromkeys(stage.slot.backend for stage in planned.plan.stages)
    found = ((name, find_backend(name).missing()) for name in backends)
    return [f"{name} cannot estimate or build: {text}" for name, text in found if text]
