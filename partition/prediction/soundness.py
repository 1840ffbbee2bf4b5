"""Whether a device behaved well enough while it was timed for its times to become costs.

docs/costs.md gives the reasons for the limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.partition.prediction.roofline import require_peak
from edgeweave.partition.prediction.samples import quartiles
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.region import Region

Kind: TypeAlias = Literal[
    "device", "cores", "temperature", "clock", "governor", "control", "roofline"
]


@dataclass(frozen=True)
class Limits:
    """What a device may do while it is timed.

    It may warm up by ``rise_c`` degrees and reach ``hottest_c``; its clock may change by the share
    ``clock_share``, and the control kernel's time by ``control_share``. A region may be
    ``faster_than_ideal`` times as fast as the board file allows; its memory traffic counts for
    that above ``cache_mib``, where the board does not tell its cache.
    """

    rise_c: float = 20.0
    hottest_c: float = 85.0
    clock_share: float = 0.1
    control_share: float = 0.1
    faster_than_ideal: float = 2.0
    cache_mib: float = 32.0


LIMITS = Limits()
_WINDOWS = 4  # parts of a run that the control kernel is compared between ...
_WINDOW = 3  # ... of at least so many calls


@dataclass(frozen=True)
class Core:
    """One core: its clock in MHz and its governor, None where the device cannot tell."""

    core: int
    mhz: float | None
    governor: str | None


@dataclass(frozen=True)
class Reading:
    """A device at one moment: degrees Celsius (None: unknown) and the cores that work."""

    temperature_c: float | None
    cores: tuple[Core, ...]


@dataclass(frozen=True)
class Conduct:
    """How a device behaved while regions were timed.

    ``devices`` is who answered, at the start and at the end. ``readings`` were taken before, in
    between and after. ``control_s`` are the times of the control kernel in their order, and
    ``baseline_s`` its level in what was measured before on this device (None: nothing was).
    ``notes`` is what the device could not set up as asked.
    """

    devices: tuple[DeviceStamp, ...]
    readings: tuple[Reading, ...]
    control_s: tuple[float, ...]
    baseline_s: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """Why times are not taken as costs: the kind, and a clause that says what was seen."""

    kind: Kind
    reason: str


def find_faults(conduct: Conduct, limits: Limits = LIMITS) -> list[Fault]:
    """All that speaks against the times that were taken meanwhile; none where it is fine."""
    return [
        *_device_faults(conduct),
        *_heat_faults(conduct.readings, limits),
        *_clock_faults(conduct.readings, limits),
        *_control_faults(conduct, limits),
    ]


def control_level(seconds: Sequence[float]) -> float:
    """The level of repeated times that a few slow ones do not lift: their lower quartile."""
    return quartiles(seconds)[0]


def impossible(
    region: Region, engine: Engine, board: Board, seconds: float, limits: Limits = LIMITS
) -> Fault | None:
    """A fault when a whole call took far less than the board file says it can take.

    Then the device's clock or the board file is wrong. Traffic that fits into a cache may be faster
    than the memory, so it does not count.
    """
    peak_s = region.flops / require_peak(engine, region.precision) / 1e9
    cache_mib = limits.cache_mib if board.cache_mib is None else board.cache_mib.value
    streams = region.bytes_moved > cache_mib * 2**20
    memory_s = region.bytes_moved / board.dram_gb_s.value / 1e9 if streams else 0.0
    ideal_s = max(peak_s, memory_s)
    if seconds * limits.faster_than_ideal >= ideal_s:
        return None
    return Fault(
        "roofline",
        f"{region.name} took {seconds * 1e3:.3g} ms on {engine.name}, which at its peak needs "
        f"{ideal_s * 1e3:.3g} ms: the device's clock or the board file is wrong",
    )


def _device_faults(conduct: Conduct) -> Iterator[Fault]:
    for before, after in pairwise(conduct.devices):
        if not before.is_same_device(after):
            names = [f"{d} with serial {d.serial!r}" for d in (before, after)]
            yield Fault("device", f"the device changed from {names[0]} to {names[1]}")
    for note in conduct.notes:
        yield Fault("cores", f"the engine's cores are not the device's: {note}")


def _heat_faults(readings: Sequence[Reading], limits: Limits) -> Iterator[Fault]:
    known = [r.temperature_c for r in readings if r.temperature_c is not None]
    if not known:
        return
    rise = max(known) - known[0]
    if rise > limits.rise_c:
        yield Fault(
            "temperature", f"it warmed up by {rise:.0f} C, from {known[0]:.0f} to {max(known):.0f}"
        )
    if max(known) > limits.hottest_c:
        yield Fault(
            "temperature",
            f"it reached {max(known):.0f} C, where devices slow down ({limits.hottest_c:.0f} C)",
        )


def _clock_faults(readings: Sequence[Reading], limits: Limits) -> Iterator[Fault]:
    """A clock or a governor that changed, named for the first core it happened to."""
    first = {core.core: core for core in readings[0].cores} if readings else {}
    clock = governor = False
    for reading in readings[1:]:
        for now in reading.cores:
            before = first.get(now.core)
            if before is None:
                continue
            if not governor and before.governor != now.governor:
                governor = True
                yield Fault(
                    "governor",
                    f"the governor of core {now.core} changed from {before.governor} to "
                    f"{now.governor}",
                )
            was, mhz = before.mhz, now.mhz
            if not clock and was and mhz and _differ(was, mhz, limits.clock_share):
                clock = True
                yield Fault(
                    "clock",
                    f"the clock of core {now.core} changed from {was:.0f} to {mhz:.0f} MHz "
                    f"(governor {now.governor or 'unknown'})",
                )


def _control_faults(conduct: Conduct, limits: Limits) -> Iterator[Fault]:
    control = conduct.control_s
    if not control:
        return
    size = max(_WINDOW, len(control) // _WINDOWS)
    starts = range(0, len(control) - size + 1, size)
    levels = [control_level(control[start : start + size]) for start in starts]
    if levels and max(levels) > min(levels) * (1 + limits.control_share):
        yield Fault(
            "control",
            f"one and the same kernel took between {min(levels) * 1e3:.3g} and "
            f"{max(levels) * 1e3:.3g} ms: the device is throttled or busy",
        )
    level, baseline = control_level(control), conduct.baseline_s
    if baseline is not None and _differ(baseline, level, limits.control_share):
        yield Fault(
            "control",
            f"one and the same kernel took {level * 1e3:.3g} ms, and {baseline * 1e3:.3g} ms "
            "earlier in the profile: the device is throttled or busy",
        )


def _differ(a: float, b: float, share: float) -> bool:
    """Whether two figures are further apart than that share of the smaller one."""
    return max(a, b) > min(a, b) * (1 + share)
