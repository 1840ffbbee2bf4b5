"""``edgeweave profile``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.options import Target, make_job, model_options
from edgeweave.compiler.cli.settings import settings_of, verb
from edgeweave.compiler.cli.text import DASH, counted, duration, table

if TYPE_CHECKING:
    from edgeweave.compiler.profile import Fit, Profile, RegionProfile, SlotTime
    from edgeweave.targets.board import Board


@verb("profile", "Measure a model's regions on this machine.")
@model_options
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Calls of each region; slow ones are called fewer times.",
)
@click.pass_context
def command(context: click.Context, target: Target, repeats: int, as_json: bool) -> None:
    """Measure the regions of MODEL on this machine, and calibrate its cost model.

    The plans that follow use what was measured. Regions can be measured where they run only, so
    the board must be host.
    """
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.cli.streams import note

    job = make_job(target)
    from edgeweave.compiler.profile import profile_model

    settings = settings_of(context)
    with Narrator(settings) as narrator:
        profile = profile_model(job, narrator, repeats)
    if as_json:
        click.echo(json.dumps(_data(profile), indent=1, allow_nan=False))
    else:
        for line in _show(profile):
            click.echo(line)
    for text in profile.notes:
        note(settings, text)


def _show(profile: Profile) -> Iterator[str]:
    slots = _slots(profile.calls, *(region.times for region in profile.regions))
    total = counted(sum(region.count for region in profile.regions), "region")
    yield (
        f"{profile.model} on {profile.board.name}: {total}, {len(profile.regions)} distinct; "
        "whole calls, measured"
    )
    yield ""
    rows = [
        [region.name, str(region.count), *_cells(region.times, slots)]
        for region in sorted(profile.regions, key=_weight, reverse=True)
    ]
    rows.append(["a call that computes nothing", DASH, *_cells(profile.calls, slots)])
    yield from table(["region, slowest first", "count", *slots], rows)
    yield "  median, and +- the range of the middle half; a slot with a dash refuses the region"
    yield ""
    yield from _show_links(profile.board)
    yield ""
    yield from _show_fits(profile.fits)


def _slots(*times: Sequence[SlotTime]) -> list[str]:
    return list(dict.fromkeys(str(time.slot) for row in times for time in row))


def _cells(times: Sequence[SlotTime], slots: Sequence[str]) -> list[str]:
    cells = {
        str(time.slot): f"{duration(time.measurement.seconds)} +- "
        f"{duration(time.measurement.spread_s)}"
        for time in times
    }
    return [cells.get(slot, DASH) for slot in slots]


def _weight(region: RegionProfile) -> float:
    """Seconds that regions like this one take of the model, each at its fastest."""
    return region.count * min((t.measurement.seconds for t in region.times), default=0.0)


def _show_links(board: Board) -> Iterator[str]:
    rows = [
        [
            f"{link.between[0]} to {link.between[1]}",
            duration(link.latency_us.value / 1e6),
            f"{link.bandwidth_gb_s.value:.3g} GB/s",
            link.latency_us.origin,
        ]
        for link in board.links
    ]
    yield from table(["link", "hand-over", "copy", "origin"], rows)


def _show_fits(fits: Sequence[Fit]) -> Iterator[str]:
    rows = []
    for fit in fits:
        for name, engine, ratio in (
            ("before", fit.before, fit.ratio_before),
            ("after", fit.after, fit.ratio_after),
        ):
            rows.append(
                [
                    f"{engine.name} {name}",
                    str(fit.samples),
                    f"{engine.compute_efficiency.value:.3g}",
                    f"{engine.memory_efficiency.value:.3g}",
                    duration(engine.call_overhead_us.value / 1e6),
                    f"{ratio:.2f}",
                ]
            )
    headers = ["calibration", "samples", "compute", "memory", "call", "predicted / measured"]
    yield from table(headers, rows)


def _data(profile: Profile) -> dict[str, Any]:
    """The profile as JSON data; of the board only what was measured."""
    return {
        "model": profile.model,
        "board": profile.board.name,
        "regions": [asdict(region) for region in profile.regions],
        "calls": [asdict(call) for call in profile.calls],
        "links": [asdict(link) for link in profile.board.links],
        "calibration": [
            {
                "engine": fit.after.name,
                "samples": fit.samples,
                "ratio_before": fit.ratio_before,
                "ratio_after": fit.ratio_after,
                "compute_efficiency": fit.after.compute_efficiency.value,
                "memory_efficiency": fit.after.memory_efficiency.value,
                "call_overhead_us": fit.after.call_overhead_us.value,
            }
            for fit in profile.fits
        ],
        "notes": list(profile.notes),
    }
