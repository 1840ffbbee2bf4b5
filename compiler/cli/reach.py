"""Options that name devices and how they are reached, for the verbs that use some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.options import Duration, takes
from edgeweave.runtime.errors import EdgeweaveError

if TYPE_CHECKING:
    from edgeweave.targets.devices.pool import Place


class Devices(click.ParamType[int | None]):
    """How many devices: a number, or None for all that are free."""

    name = "N|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Parse the text; a usage error names examples."""
        if value == "all":
            return None
        text = str(value)
        if not text.isdecimal() or int(text) < 1:
            self.fail(f"{value!r} is not a number of devices; write 2, or all", param, ctx)
        return int(text)


@dataclass(frozen=True)
class Reach:
    """Which devices, and how they are reached; ``rpc`` is None where none was named.

    ``wait`` and ``timeout`` are seconds.
    """

    rpc: str | None
    key: str | None
    devices: int | None
    secret_file: Path | None
    wait: float
    timeout: float


def reach_options(
    rpc: str, devices: str, timeout: str, *, required: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options, for a verb that gets them as ``reach``; some are told in the verb's words."""
    options = (
        click.option("--rpc", required=required, metavar="HOST:PORT", help=rpc),
        click.option("--key", metavar="KEY", help="The key of the devices at the tracker."),
        click.option("--devices", type=Devices(), default="all", show_default=True, help=devices),
        click.option(
            "--secret-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="The secret that the devices were started with.",
        ),
        click.option(
            "--wait",
            type=Duration(),
            default="30s",
            show_default=True,
            help="How long to wait for a device that is busy.",
        ),
        click.option("--timeout", type=Duration(), default="60s", show_default=True, help=timeout),
    )
    return takes(options, Reach, "reach")


def find_place(reach: Reach) -> Place:
    """Where to look for devices; a usage error for options that do not go together."""
    if reach.devices is not None and reach.key is None:
        raise click.UsageError("--devices needs --key: without it --rpc names one device")
    from edgeweave.targets.devices.address import parse_address
    from edgeweave.targets.devices.pool import Place
    from edgeweave.targets.devices.secret import read_secret
    from edgeweave.targets.devices.session import Options

    try:
        address = parse_address(str(reach.rpc))
    except EdgeweaveError as error:
        raise click.BadParameter(str(error), param_hint="--rpc") from error
    options = Options(secret=read_secret(reach.secret_file), wait_s=reach.wait)
    return Place(address, reach.key, reach.devices, options)
