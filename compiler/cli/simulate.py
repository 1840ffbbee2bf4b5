"""``edgeweave simulate``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from edgeweave.compiler.cli.options import Duration, Rate
from edgeweave.compiler.cli.settings import verb


class Share(click.ParamType[float]):
    """A share of 0 or more: ``5%`` or ``0.05``."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the text; a usage error names examples."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?(%?)", str(value).strip())
        share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
        if not 0 <= share <= 10:
            self.fail(f"{value!r} is not a share; write 5% or 0.05", param, ctx)
        return share


@verb("simulate", "Simulate a stream of frames through a plan.")
@click.argument("source", metavar="BUNDLE|DIR", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--frames",
    type=click.IntRange(2, 10_000_000),
    default=1000,
    show_default=True,
    help="Frames that arrive.",
)
@click.option("--period", type=Duration(), help="Time from frame to frame, as 33ms.")
@click.option("--fps", type=Rate(), metavar="RATE", help="Frames per second, instead of a period.")
@click.option(
    "--jitter", type=Duration(), help="Most that a frame arrives too early or too late, as 1ms."
)
@click.option(
    "--spread",
    type=Share(),
    default=0.0,
    help="Relative standard deviation of the stages' times, as 5%; without it they are constant.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    help="Most frames in flight; one more than the engines unless given, as in the runtime.",
)
@click.option("--drop", is_flag=True, help="Drop a frame that finds no room; without, it waits.")
@click.option(
    "--deadline",
    type=Duration(),
    help="Most time from a frame's arrival to its result; the plan's budget unless given.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of jitter and spread.")
def command(
    source: Path,
    frames: int,
    period: float | None,
    fps: float | None,
    jitter: float | None,
    spread: float,
    depth: int | None,
    drop: bool,
    deadline: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate frames that run through the stages of a plan, as the runtime runs them.

    The plan is a bundle, or a folder that `plan --dump` wrote. Nothing is run: the stages take what
    the plan says. Without --period or --fps, a frame arrives whenever there is room.
    """
    if period is not None and fps is not None:
        raise click.UsageError("--period and --fps say the same; give one of them")
    if fps is not None:
        period = 1 / fps
    if period is None and (jitter is not None or drop):
        given = "--drop" if jitter is None else "--jitter"
        raise click.UsageError(f"{given} needs frames that arrive by themselves; give --period")
    from edgeweave.compiler.cli.simulated_plan import read_plan
    from edgeweave.partition.simulation.simulate import simulate
    from edgeweave.partition.simulation.stream import Stream

    plan = read_plan(source)
    stream = Stream(
        name=plan.model,
        jobs=plan.jobs,
        frames=frames,
        period_s=period,
        jitter_s=jitter or 0.0,
        depth=depth,
        drop=drop,
        deadline_s=plan.budget_s if deadline is None else deadline,
        spread=spread,
    )
    run = simulate([stream], plan.engines, plan.contention, plan.dram_bytes_per_s, seed)
    from edgeweave.compiler.cli.show_simulation import show_simulation, simulation_data

    data = simulation_data(plan, stream, run, seed)
    if as_json:
        click.echo(json.dumps(data, indent=1, allow_nan=False))
        return
    for line in show_simulation(data):
        click.echo(line)
