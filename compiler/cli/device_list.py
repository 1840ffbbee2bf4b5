"""``edgeweave device list``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.settings import verb
from edgeweave.compiler.cli.text import DASH, counted, table

if TYPE_CHECKING:
    from edgeweave.targets.devices.address import Address
    from edgeweave.targets.devices.identity import Identity
    from edgeweave.targets.devices.survey import Seen

_HEADERS = (
    "key", "device", "address", "state", "arch", "CPU", "emulated", "governor", "temperature",
    "TVM", "edgeweave",
)  # fmt: skip


@verb("list", "List the devices of a tracker, or show one device.")
@click.option(
    "--rpc",
    required=True,
    metavar="HOST:PORT",
    help="A tracker, or one device.",
)
@click.option("--key", metavar="KEY", help="Only the tracker's devices with this key.")
def command(rpc: str, key: str | None, as_json: bool) -> None:
    """List the devices that are registered with a tracker, or show what one device is.

    Every device is asked itself, which works while it is busy, too. One that does not answer is
    listed with what is wrong with it.
    """
    from edgeweave.runtime.errors import EdgeweaveError
    from edgeweave.targets.devices.address import parse_address
    from edgeweave.targets.devices.faults import NotADevice
    from edgeweave.targets.devices.survey import is_tracker

    try:
        address = parse_address(rpc)
    except EdgeweaveError as error:
        raise click.UsageError(f"--rpc: {error}") from error
    if key is not None:
        _list(address, key, as_json)
        return
    try:
        _show(address, as_json)
    except NotADevice:
        if not is_tracker(address):
            raise
        _list(address, None, as_json)


def _list(address: Address, key: str | None, as_json: bool) -> None:
    from edgeweave.targets.devices.survey import survey
    from edgeweave.targets.devices.tracker import Tracker

    found = survey(Tracker(address), key)
    if as_json:
        click.echo(json.dumps([_data(seen) for seen in found], indent=1))
        return
    for line in _lines(address, found):
        click.echo(line)


def _show(address: Address, as_json: bool) -> None:
    from edgeweave.targets.devices.identity import hello
    from edgeweave.targets.devices.survey import Seen

    identity = hello(address)
    if as_json:
        click.echo(json.dumps(_data(Seen(identity.key, address, identity, None)), indent=1))
        return
    for line in _details(address, identity):
        click.echo(line)


def _data(seen: Seen) -> dict[str, Any]:
    identity = None
    if seen.identity is not None:
        identity = {k: v for k, v in asdict(seen.identity).items() if k not in ("match", "ended")}
    fault = seen.fault
    return {
        "key": seen.key,
        "address": str(seen.address),
        "state": seen.state,
        "identity": identity,
        "fault": None if fault is None else {"kind": fault.kind, "text": str(fault)},
    }


def _lines(address: Address, found: Sequence[Seen]) -> Iterator[str]:
    free = sum(seen.state == "free" for seen in found)
    yield f"tracker {address}: {counted(len(found), 'device')}, {free} free"
    if found:
        yield ""
        yield from table(_HEADERS, [_row(seen) for seen in found])
    for seen in found:
        if seen.fault is not None:
            yield ""
            yield str(seen.fault)


def _row(seen: Seen) -> list[str]:
    identity = seen.identity
    if identity is None:
        return [seen.key, DASH, str(seen.address), seen.state, *[DASH] * (len(_HEADERS) - 4)]
    return [
        seen.key,
        identity.name,
        str(seen.address),
        _state(identity),
        identity.arch,
        identity.parts or DASH,
        identity.emulated or "no",
        _governors(identity),
        _temperature(identity),
        identity.versions.get("apache-tvm", DASH),
        identity.versions.get("edgeweave", DASH),
    ]


def _state(identity: Identity) -> str:
    busy = identity.busy
    return "free" if busy is None else f"busy with {busy.peer} for {busy.since_s:.0f} s"


def _governors(identity: Identity) -> str:
    return ", ".join(sorted({cpu.governor for cpu in identity.cpus if cpu.governor})) or DASH


def _temperature(identity: Identity) -> str:
    return DASH if identity.temperature_c is None else f"{identity.temperature_c:.1f} °C"


def _details(address: Address, identity: Identity) -> Iterator[str]:
    emulated = f", emulated by {identity.emulated}" if identity.emulated else ""
    yield f"{identity.name} at {address}: {_state(identity)}"
    yield ""
    clocks = sorted({f"{cpu.max_mhz:.0f} MHz" for cpu in identity.cpus if cpu.max_mhz})
    limits = identity.limits
    rows = [
        ["key", identity.key or DASH],
        ["architecture", f"{identity.arch}{emulated}"],
        ["CPU", identity.parts or DASH],
        ["highest clocks", ", ".join(clocks) or DASH],
        ["governor", _governors(identity)],
        ["temperature", _temperature(identity)],
        ["CPU features", " ".join(identity.features) or DASH],
        ["memory", f"{identity.memory_mib:.0f} MiB"],
        ["free for files", f"{identity.free_mib:.0f} MiB"],
        ["serial number", identity.serial or DASH],
        ["versions", ", ".join(f"{n} {v}" for n, v in identity.versions.items()) or DASH],
        ["runs stages of", ", ".join(identity.runners) or DASH],
        ["longest session", f"{limits.session_s:.0f} s"],
        ["largest file", f"{limits.upload_mib:.0f} MiB, {limits.store_mib:.0f} MiB in all"],
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"  {name.ljust(width)}  {value}"
