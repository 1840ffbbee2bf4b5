"""``edgeweave plan`` with several models, or several cost tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.fallbacks import FALLBACK, Fallback, Fallbacks
from edgeweave.compiler.cli.narrate import Narrator
from edgeweave.compiler.cli.options import Target, Wish, make_job
from edgeweave.compiler.cli.settings import settings_of
from edgeweave.compiler.cli.streams import note
from edgeweave.targets.backend import Refusal, Slot

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Costed
    from edgeweave.partition.costs import CostTable
    from edgeweave.partition.several.joint_plan import JointPlan, ModelPlan

FRAMES = 1000
"""Simulated frames of the model that has the fewest."""


@dataclass(frozen=True)
class Several:
    """What is to be placed together: models on a board, or cost tables.

    ``each`` are budget in seconds and frames per second by the models' names, in their order.
    """

    each: Mapping[str, tuple[float | None, float | None]]
    targets: tuple[Target, ...]
    tables: tuple[Path, ...]
    wish: Wish
    check: bool


def place_several(
    context: click.Context, several: Several, *, as_json: bool, every_region: bool, compare: bool
) -> None:
    """Place the models, print it, and fail where they miss what is asked of them."""
    _refuse_options(several.wish, every_region=every_region)
    with Narrator(settings_of(context)) as narrator:
        if several.tables:
            plan, tables, data = _place_tables(several, narrator)
        else:
            plan, tables, data = _place_models(several, narrator)
    from edgeweave.compiler.cli.show_several import several_data, show_comparison, show_several
    from edgeweave.partition.several.joint_simulation import simulate_together

    run = simulate_together(plan, tables, FRAMES, _law(several, tables))
    shown = several_data(plan, run) | data
    fallbacks = [_fallbacks(own, table) for own, table in zip(plan.models, tables, strict=True)]
    together = Fallbacks(
        sum(own.regions for own in fallbacks),
        tuple(found for own in fallbacks for found in own.found),
        sum(own.by_cost for own in fallbacks),
    )
    shown["fallbacks"] = together.to_json()
    if as_json:
        click.echo(json.dumps(shown, indent=1, allow_nan=False))
    elif compare:
        click.echo("\n".join(show_comparison(plan)))
    else:
        lines = [*show_several(plan, run, shown), *([together.choice] if together.by_cost else [])]
        click.echo("\n".join([*lines, together.sentence]))
    for text in data.get("warnings", ()):
        note(settings_of(context), text, word="warning")
    if not plan.meets:
        from edgeweave.partition.errors import PartitionError

        raise PartitionError(
            f"{', '.join(several.each)} on {plan.board}",
            "no plan was found that meets all requests",
            plan.shortfall[0],
        )


def _refuse_options(wish: Wish, *, every_region: bool) -> None:
    """A usage error for what says nothing about several models."""
    for option, given, reason in (
        ("--objective", wish.objective, "the largest response over its budget is minimised"),
        ("--place", wish.place, "plan one model with --dump, and change its cost table"),
        ("--avoid", wish.avoid, "plan one model with --dump, and change its cost table"),
        ("--together", wish.together, "plan one model with --dump, and change its cost table"),
        ("--regions", every_region, "--json holds the slot of every region"),
    ):
        if given:
            raise click.UsageError(f"{option} does not go with several models: {reason}")


def _place_models(
    several: Several, narrator: Narrator
) -> tuple[JointPlan, tuple[CostTable, ...], dict[str, Any]]:
    jobs = {
        name: make_job(target, _wish(several, name))
        for name, target in zip(several.each, several.targets, strict=True)
    }
    from edgeweave.compiler.pipeline import plan_models

    plan, costed = plan_models(jobs, narrator, check=several.check)
    return plan, tuple(own.table for own in costed), _models_data(tuple(several.each), costed)


def _wish(several: Several, name: str) -> Wish:
    (budget, fps), folder = several.each[name], several.wish.dump
    dump = None if folder is None else folder / name
    return replace(several.wish, budget=budget, fps=fps, dump=dump)


def _models_data(names: Sequence[str], costed: Sequence[Costed]) -> dict[str, Any]:
    from edgeweave.compiler.cli.result import origins

    return {
        "origins": origins(costed[0].board),
        "sources": {
            name: {"model": own.model.path.name, "digest": own.model.digest}
            for name, own in zip(names, costed, strict=True)
        },
        "warnings": list(
            dict.fromkeys(
                text for own in costed for text in (*own.model.warnings, *own.checks.notes)
            )
        ),
    }


def _place_tables(
    several: Several, narrator: Narrator
) -> tuple[JointPlan, tuple[CostTable, ...], dict[str, Any]]:
    from edgeweave.compiler.dump import Dump
    from edgeweave.partition.constraints import constrain
    from edgeweave.partition.files.table_json import read_table
    from edgeweave.partition.several.coschedule import coschedule
    from edgeweave.partition.several.joint import ModelRequest
    from edgeweave.partition.several.same_slots import share_slots

    models = []
    for path, (name, (budget, fps)) in zip(several.tables, several.each.items(), strict=True):
        narrator("costs", 0, 1, str(path))
        table = constrain(read_table(path), several.wish.constraints())
        Dump(_wish(several, name).dump).table(table)
        models.append(ModelRequest(name, table, budget, fps))
    shared = share_slots(models)
    narrator("plan", 0, 1, f"{len(models)} tables on {len(shared[0].table.slots)} slots")
    wish = several.wish
    plan = coschedule(shared, "one board", wish.max_stages, wish.time_limit)
    sources = {name: str(path) for name, path in zip(several.each, several.tables, strict=True)}
    return plan, tuple(model.table for model in shared), {"sources": sources, "warnings": []}


def _law(several: Several, tables: Sequence[CostTable]) -> Any:
    """The law of contention that the plan's bounds assume."""
    from edgeweave.partition.several.joint import Board, ModelRequest

    pairs = zip(several.each, tables, strict=True)
    return Board(tuple(ModelRequest(name, table) for name, table in pairs)).contention


def _fallbacks(plan: ModelPlan, table: CostTable) -> Fallbacks:
    """What of one model ONNX Runtime runs because no other backend of the engine takes it."""
    found, by_cost = [], 0
    for stage in plan.stages:
        if stage.slot.backend != FALLBACK:
            continue
        for region in stage.regions:
            others = _others(table, region, stage.slot)
            refused = [cost for cost in others if isinstance(cost, Refusal)]
            if others and len(refused) == len(others):
                name = f"{plan.name}/{table.regions[region]}"
                found.append(Fallback(name, stage.slot, refused[0].rule, refused[0].reason))
            else:
                by_cost += bool(others)
    return Fallbacks(len(table.regions), tuple(found), by_cost)


def _others(table: CostTable, region: int, slot: Slot) -> list[Any]:
    return [
        table.costs[region][s]
        for s, other in enumerate(table.slots)
        if other.engine == slot.engine and other.backend != FALLBACK
    ]
