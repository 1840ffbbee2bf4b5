"""``edgeweave boards``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.options import HOST
from edgeweave.compiler.cli.settings import verb
from edgeweave.compiler.cli.text import DASH, digits, table

if TYPE_CHECKING:
    from edgeweave.targets.board import Board

_UNITS = {
    "gops": "10^9 operations/s",
    "gb_s": "10^9 bytes/s",
    "efficiency": "share",
    "us": "us",
    "ghz": "GHz",
    "mib": "MiB",
    "w": "W",
}


@verb("boards", "List the boards, or every number of one.")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@click.option("--refresh", is_flag=True, help="Measure this machine anew (only with host).")
def command(name: str | None, refresh: bool, as_json: bool) -> None:
    """List the boards, or show every number of one with its unit and origin.

    host is this machine: its cores are detected, its memory is measured once and remembered, and
    what `profile` calibrated is applied.
    """
    if refresh and name != HOST:
        raise click.UsageError("--refresh measures this machine: edgeweave boards host --refresh")
    if name is None:
        _print_list(as_json)
    else:
        _print_board(load(name, refresh), as_json)


def load(name: str, refresh: bool = False) -> Board:
    """The board of that name or file; the host with its calibration. Raises TargetError."""
    if name != HOST:
        from edgeweave.targets.board_file import load_board

        return load_board(name)
    from edgeweave.partition.prediction.measurements import MeasurementStore
    from edgeweave.targets.cache import open_cache
    from edgeweave.targets.host import detect_host

    cache = open_cache()
    host = detect_host(cache, refresh)
    return MeasurementStore(cache).read().calibrated(host) if cache else host


def _print_list(as_json: bool) -> None:
    from edgeweave.targets.board_file import bundled_boards, load_board
    from edgeweave.targets.cpuinfo import read_cpu, split_cores

    boards = [load_board(name) for name in bundled_boards()]
    cpu = read_cpu()
    engines = [f"cpu{index}" for index in range(len(split_cores(cpu.cores)))]
    if as_json:
        host = {"name": HOST, "description": cpu.model, "is_host": True, "engines": engines}
        click.echo(json.dumps([*map(_summary, boards), host], indent=1))
        return
    rows = [[HOST, ", ".join(engines), "measured on use", DASH, f"this machine: {cpu.model}"]]
    for board in boards:
        summary = _summary(board)
        share = f"{summary['unsourced']} of {summary['numbers']}"
        dram = f"{digits(board.dram_gb_s.value)} GB/s"
        names = ", ".join(engine.name for engine in board.engines)
        rows.append([board.name, names, dram, share, board.description])
    for line in table(["board", "engines", "DRAM", "UNSOURCED", ""], rows):
        click.echo(line)


def _summary(board: Board) -> dict[str, Any]:
    quantities = board.quantities().values()
    return {
        "name": board.name,
        "description": board.description,
        "is_host": board.is_host,
        "engines": [engine.name for engine in board.engines],
        "dram_gb_s": board.dram_gb_s.value,
        "numbers": len(quantities),
        "unsourced": sum(not quantity.is_sourced for quantity in quantities),
    }


def _print_board(board: Board, as_json: bool) -> None:
    summary = _summary(board)
    if as_json:
        click.echo(json.dumps(summary | _details(board), indent=1))
        return
    click.echo(f"{board.name}: {board.description}")
    click.echo("")
    rows = [
        [
            engine.name,
            engine.kind,
            ", ".join(engine.backends),
            ", ".join(map(str, engine.cores)) or DASH,
            engine.description,
        ]
        for engine in board.engines
    ]
    for line in table(["engine", "kind", "backends", "cores", ""], rows):
        click.echo(line)
    click.echo("")
    numbers = [
        [key, f"{quantity.value:.4g}", _unit(key), quantity.origin]
        for key, quantity in board.quantities().items()
    ]
    for line in table(["number", "value", "unit", "origin"], numbers):
        click.echo(line)
    click.echo("")
    click.echo(f"{summary['unsourced']} of {summary['numbers']} numbers are UNSOURCED")


def _details(board: Board) -> dict[str, Any]:
    return {
        "identity": board.identity,
        "engines": [
            {
                "name": engine.name,
                "kind": engine.kind,
                "description": engine.description,
                "backends": list(engine.backends),
                "cores": list(engine.cores),
                "llvm_target": dict(engine.llvm_target),
            }
            for engine in board.engines
        ],
        "links": [list(link.between) for link in board.links],
        "quantities": {
            key: {
                "value": quantity.value,
                "unit": _unit(key),
                "origin": quantity.origin,
                "sourced": quantity.is_sourced,
            }
            for key, quantity in board.quantities().items()
        },
    }


def _unit(key: str) -> str:
    """The unit that the name of a number ends in."""
    return next((unit for end, unit in _UNITS.items() if key.endswith(f"_{end}")), "")
