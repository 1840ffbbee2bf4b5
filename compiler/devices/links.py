"""What it takes a device to hand a value from one CPU engine's cores to another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edgeweave.compiler.devices.bench import DeviceBench
from edgeweave.partition.prediction.profiled import LinkMeasurement
from edgeweave.partition.prediction.samples import Summary, summarise
from edgeweave.targets.board import Engine
from edgeweave.targets.devices.faults import DeviceFailure

FUNCTION = "edgeweave.device.measure_link"
BYTES = 1 << 20  # of a copy: a feature map of ordinary size
REPEATS = 50


@dataclass(frozen=True)
class LinkResult:
    """A link as it was measured; ``fault`` says why it is no cost, "" where it is one."""

    link: LinkMeasurement
    unsteady: bool
    fault: str


def measure_link(bench: DeviceBench, a: Engine, b: Engine) -> LinkResult:
    """The slower direction of each: the hand-over, and the copy of what was just written."""
    bench.freshen()
    ways = [_one_way(bench, *pair) for pair in ((a, b), (b, a))]
    latency = max((way.latency for way in ways), key=lambda summary: summary.seconds)
    copy_s = max(way.copy_s for way in ways)
    link = LinkMeasurement(
        board=bench.board.identity,
        between=(a.name, b.name),
        cores=(a.cores, b.cores),
        latency_us=latency.seconds * 1e6,
        latency_spread_us=latency.spread_s * 1e6,
        bandwidth_gb_s=BYTES / copy_s / 1e9,
        repeats=REPEATS,
        device=bench.stamp,
        date=datetime.now(UTC).date().isoformat(),
    )
    notes = sorted({note for way in ways for note in way.notes})
    return LinkResult(link, latency.is_unsteady, "; ".join(notes))


@dataclass(frozen=True)
class _Way:
    latency: Summary
    copy_s: float
    notes: tuple[str, ...]


def _one_way(bench: DeviceBench, a: Engine, b: Engine) -> _Way:
    request = {"a": list(a.cores), "b": list(b.cores), "bytes": BYTES, "repeats": REPEATS}
    reply = bench.session.ask(FUNCTION, request, limit_s=bench.effort.timeout_s)
    latency, copies = (_durations(reply.get(key)) for key in ("latency_us", "copy_s"))
    if latency is None or copies is None:
        raise DeviceFailure(bench.session.subject, f"{FUNCTION} gives no times")
    taken = summarise([us / 1e6 for us in latency])
    return _Way(taken, summarise(copies).seconds, tuple(map(str, reply.get("notes", ()))))


def _durations(values: object) -> Sequence[float] | None:
    """Times above 0, or None where they are something else."""
    if not isinstance(values, list) or not values:
        return None
    sound = all(isinstance(value, int | float) and value > 0 for value in values)
    return [float(value) for value in values] if sound else None
