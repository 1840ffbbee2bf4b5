"""``edgeweave profile``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.options import (
    BOARD,
    HOST,
    READING_OPTIONS,
    Target,
    find_board,
    make_job,
    model_file,
    takes,
)
from edgeweave.compiler.cli.reach import Reach, find_place, reach_options
from edgeweave.compiler.cli.settings import Settings, settings_of, verb
from edgeweave.compiler.cli.text import counted

if TYPE_CHECKING:
    from edgeweave.targets.devices.pool import Place


def _optional_model(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> Path | None:
    return None if value is None else model_file(context, parameter, value)


_TARGET = (
    click.argument("model", required=False, callback=_optional_model),
    BOARD,
    *READING_OPTIONS,
)


@verb("profile", "Measure a model's regions, here or on devices.")
@takes(_TARGET, Target, "target")
@reach_options(
    rpc="Measure a device of the board; with --key, the tracker that it is registered with.",
    devices="With --key: how many devices share the work, or all that are free.",
    timeout="Most time of one call of a region; one that takes longer counts as hung.",
    required=False,
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Calls of each region; slow ones are called fewer times.",
)
@click.option(
    "--forget",
    is_flag=True,
    help="Measure nothing; drop all that was measured of the board. Takes no MODEL.",
)
@click.pass_context
def command(
    context: click.Context,
    target: Target,
    reach: Reach,
    repeats: int,
    forget: bool,
    as_json: bool,
) -> None:
    """Measure the regions of MODEL, and calibrate the cost model of the board with them.

    The plans that follow use what was measured. The board host is this machine. The regions of
    another board are measured on its devices, over RPC: every region on every CPU engine, compared
    with ONNX Runtime, and every link between them. Figures of a device that did not behave are
    named and not kept; those of an emulated one are kept, but no plan uses them. Exits with 5 when
    nothing was kept.
    """
    settings = settings_of(context)
    if forget:
        _forget(target, reach, as_json)
        return
    if target.model is None:
        raise click.UsageError("Missing argument 'MODEL'.")
    if reach.rpc is None:
        _profile_host(settings, target, reach, repeats, as_json)
    else:
        _profile_devices(settings, target, _place(target, reach), reach.timeout, repeats, as_json)


def _profile_host(
    settings: Settings, target: Target, reach: Reach, repeats: int, as_json: bool
) -> None:
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.cli.streams import note

    for option, given in (("--key", reach.key), ("--devices", reach.devices)):
        if given is not None:
            raise click.UsageError(f"{option} needs --rpc, the tracker's address")
    job = make_job(target)
    from edgeweave.compiler.cli.show_profile import host_data, show_host
    from edgeweave.compiler.profile import profile_model

    with Narrator(settings) as narrator:
        profile = profile_model(job, narrator, repeats)
    _print(host_data(profile), show_host(profile), as_json)
    for text in profile.notes:
        note(settings, text)


def _profile_devices(
    settings: Settings, target: Target, place: Place, timeout_s: float, repeats: int, as_json: bool
) -> None:
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.cli.streams import note

    job = make_job(target)
    from edgeweave.compiler.cli.show_profile import devices_data, show_devices
    from edgeweave.compiler.devices.bench import Effort
    from edgeweave.compiler.devices.profile import profile_device

    with Narrator(settings) as narrator:
        profile = profile_device(job, place, Effort(repeats, timeout_s), narrator)
    _print(devices_data(profile), show_devices(profile), as_json)
    for text in profile.notes:
        note(settings, text)
    profile.check()


def _place(target: Target, reach: Reach) -> Place:
    """Where to look for devices; a usage error for options that do not go together."""
    if target.board == HOST:
        raise click.UsageError(
            "--rpc measures a device of another board, and host is this machine: name the board "
            "that the device is with --board, or leave --rpc out"
        )
    return find_place(reach)


def _forget(target: Target, reach: Reach, as_json: bool) -> None:
    if target.model is not None or reach.rpc is not None:
        raise click.UsageError("--forget measures nothing: give it neither MODEL nor --rpc")
    board = find_board(target.board)
    from edgeweave.compiler.devices.forget import forget_board
    from edgeweave.targets.cache import open_cache
    from edgeweave.targets.host import detect_host

    cache = open_cache()
    board = board or detect_host(cache)
    counts = forget_board(board, cache)
    told = ", ".join(counted(n, what.removesuffix("s")) for what, n in counts.items() if n)
    data = {"board": board.name, "forgotten": dict(counts)}
    _print(
        data, iter([f"forgotten of {board.name}: {told or 'nothing, there was nothing'}"]), as_json
    )


def _print(data: dict[str, Any], lines: Iterator[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, indent=1, allow_nan=False))
        return
    for line in lines:
        click.echo(line)
