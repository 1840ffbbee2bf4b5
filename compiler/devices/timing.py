"""Regions timed on a device in turn, round after round, and judged before they become costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeweave.compiler.devices.bench import DeviceBench, Tried
from edgeweave.compiler.devices.regions import DeviceRegion
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.partition.prediction.samples import Summary, summarise
from edgeweave.partition.prediction.soundness import (
    Conduct,
    Fault,
    Reading,
    control_level,
    find_faults,
    impossible,
)
from edgeweave.targets.devices.faults import DeviceTimeout, SessionDied
from edgeweave.targets.devices.stages import DeviceStages

_WARMUP = 2  # rounds that do not count: first touches of memory, and the clock going up
_LEAST_ROUNDS = 3  # fewer have no middle
_MORE = 2  # so many times as many rounds, while a region is unsteady
_SHARE_S = 0.06  # seconds spent on one region per repeat, on average; slow regions are called less
_CALL_S = 2.0  # rounds of about so many seconds go into one call ...
_SLOWER = 3.0  # ... which may take so many times longer before it counts as hung
_RESTS = 1  # how often a batch is timed again after the device did not behave
# A rest may help against these.
_PASSING = frozenset(("temperature", "clock", "governor", "control"))


@dataclass(frozen=True)
class Timed:
    """What a batch of regions took on a device, and what speaks against it.

    ``summaries`` are by the regions' names. With ``faults`` they are no costs. ``device`` carries
    the governors and the temperatures of that time.
    """

    regions: tuple[DeviceRegion, ...]
    device: DeviceStamp
    summaries: Mapping[str, Summary]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Lost:
    """A region that ended its session while it was timed, alone, and how."""

    region: DeviceRegion
    reason: str


def time_regions(
    bench: DeviceBench, tried: Sequence[Tried], control: Tried | None
) -> Iterator[Timed | Lost]:
    """Time regions that compute what they should, all in one session where that works.

    When the session ends, each half is timed by itself, so that the region that did it is found.
    Raises the fault when the device is lost.
    """
    if not tried:
        return
    bench.freshen()
    try:
        yield _time_soundly(bench, tried, control)
    except (SessionDied, DeviceTimeout) as fault:
        bench.renew()
        if len(tried) == 1:
            yield Lost(tried[0].region, fault.reason)
            return
        middle = len(tried) // 2
        yield from time_regions(bench, tried[:middle], control)
        yield from time_regions(bench, tried[middle:], control)


def _time_soundly(bench: DeviceBench, tried: Sequence[Tried], control: Tried | None) -> Timed:
    """Time the batch; once more after a rest when the device did not behave."""
    for rests in range(_RESTS + 1):
        timed = _time_once(bench, tried, control)
        passing = any(fault.kind in _PASSING for fault in timed.faults)
        if not passing or rests == _RESTS:
            break
        time.sleep(bench.effort.pause_s)
    return timed


def _time_once(bench: DeviceBench, tried: Sequence[Tried], control: Tried | None) -> Timed:
    regions = tuple(each.region for each in tried)
    engine = regions[0].engine
    together = tried if control is None else (control, *tried)
    bench.send([each.region for each in together])
    stages = bench.open([each.region for each in together])
    stages.set_inputs({name: value for each in together for name, value in each.inputs.items()})
    taken, readings = _run_rounds(bench, stages, regions)
    summaries = {region.name: summarise(taken[region.name]) for region in regions}
    beats = tuple(taken[control.region.name]) if control else ()
    devices = (bench.stamp, bench.who())
    conduct = Conduct(devices, readings, beats, bench.baselines.get(engine.name), stages.notes)
    faults = _judge(bench, conduct, regions, summaries)
    if beats and not faults:
        bench.baselines.setdefault(engine.name, control_level(beats))
    return Timed(regions, _stamp(bench, readings), summaries, tuple(faults))


def _run_rounds(
    bench: DeviceBench, stages: DeviceStages, regions: Sequence[DeviceRegion]
) -> tuple[dict[str, list[float]], tuple[Reading, ...]]:
    """Seconds of each region's calls, and the device before, in between and after."""
    engine, effort = regions[0].engine, bench.effort
    for _ in range(_WARMUP):
        warm = stages.run(1, effort.timeout_s * len(regions))
    round_s = max(warm.frames[0], 1e-9)
    share_s = _SHARE_S * effort.repeats * len(regions)
    least = min(_LEAST_ROUNDS, effort.repeats)
    rounds = max(least, min(effort.repeats, int(share_s / round_s)))
    taken: dict[str, list[float]] = {name: [] for name in warm.stages}
    readings = [bench.read(stages, engine)]
    # what an emulated device takes is no cost, however steady
    for _ in range(1 if bench.stamp.is_emulated else 1 + _MORE):
        left = rounds
        while left:
            count = max(1, min(left, int(_CALL_S / round_s)))
            limit_s = effort.timeout_s + _SLOWER * count * round_s
            for name, seconds in stages.run(count, limit_s).stages.items():
                taken[name] += seconds
            left -= count
            readings.append(bench.read(stages, engine))
        if not any(summarise(taken[region.name]).is_unsteady for region in regions):
            break
    return taken, tuple(readings)


def _judge(
    bench: DeviceBench,
    conduct: Conduct,
    regions: Sequence[DeviceRegion],
    summaries: Mapping[str, Summary],
) -> list[Fault]:
    """What speaks against the times; an emulated device's are no costs in any case."""
    if bench.stamp.is_emulated:
        return []
    limits = bench.effort.limits
    faults = find_faults(conduct, limits)
    for each in regions:
        seconds = summaries[each.name].seconds
        fault = impossible(each.region, each.engine, bench.board, seconds, limits)
        if fault is not None:
            faults.append(fault)
    return faults


def _stamp(bench: DeviceBench, readings: Sequence[Reading]) -> DeviceStamp:
    """The device with its state while the batch was timed."""
    governors = {core.governor for reading in readings for core in reading.cores if core.governor}
    return replace(
        bench.stamp,
        governors=tuple(sorted(governors)),
        temperature_before_c=readings[0].temperature_c,
        temperature_after_c=readings[-1].temperature_c,
    )
