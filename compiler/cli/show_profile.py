"""A profile as text and as JSON data: of this machine, or of devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeweave.compiler.cli.text import DASH, counted, duration, table

if TYPE_CHECKING:
    from edgeweave.compiler.devices.crew import DeviceOutcome
    from edgeweave.compiler.devices.links import LinkResult
    from edgeweave.compiler.devices.profile import DeviceProfile
    from edgeweave.compiler.profile import Fit, Profile, RegionProfile, SlotTime
    from edgeweave.targets.board import Board

_EMPTY_CALL = "a call that computes nothing"


def show_host(profile: Profile) -> Iterator[str]:
    """A profile of this machine."""
    yield from _show_regions(profile, "measured")
    yield ""
    yield from _show_board_links(profile.board)
    yield ""
    yield from _show_fits(profile.fits, "measured")


def show_devices(profile: DeviceProfile) -> Iterator[str]:
    """A profile of devices, with what was found about them; last what is kept of it."""
    yield from _show_regions(profile, profile.word)
    yield ""
    yield from table(
        ["device", "address", "CPU", "regions", ""], list(map(_device, profile.devices))
    )
    if profile.links:
        yield ""
        yield from _show_links(profile.links)
    if profile.fits:
        yield ""
        yield from _show_fits(profile.fits, profile.word)
    yield from _show_refused(profile)
    yield ""
    yield from _remarks(profile)
    yield _last_line(profile)


def _show_regions(profile: Profile | DeviceProfile, word: str) -> Iterator[str]:
    slots = _slots(profile.calls, *(region.times for region in profile.regions))
    total = counted(sum(region.count for region in profile.regions), "region")
    yield (
        f"{profile.model} on {profile.board.name}: {total}, {len(profile.regions)} distinct; "
        f"whole calls, {word}"
    )
    yield ""
    rows = [
        [region.name, str(region.count), *_cells(region.times, slots)]
        for region in sorted(profile.regions, key=_weight, reverse=True)
    ]
    rows.append([_EMPTY_CALL, DASH, *_cells(profile.calls, slots)])
    yield from table(["region, slowest first", "count", *slots], rows)
    why = "has no time of the region" if word == "emulated" else "refuses the region"
    yield f"  median, and +- the range of the middle half; a slot with a dash {why}"


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


def _show_board_links(board: Board) -> Iterator[str]:
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


def _show_links(results: Sequence[LinkResult]) -> Iterator[str]:
    rows = [
        [
            f"{result.link.between[0]} to {result.link.between[1]}",
            f"{duration(result.link.latency_us / 1e6)} +- "
            f"{duration(result.link.latency_spread_us / 1e6)}",
            f"{result.link.bandwidth_gb_s:.3g} GB/s",
            f"{result.link.device.word} on {result.link.device.name}"
            + (f"; not kept: {result.fault}" if result.fault else ""),
        ]
        for result in results
    ]
    yield from table(["link", "hand-over", "copy", "origin"], rows)


def _show_fits(fits: Sequence[Fit], word: str) -> Iterator[str]:
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
    headers = ["calibration", "samples", "compute", "memory", "call", f"predicted / {word}"]
    yield from table(headers, rows)


def _device(outcome: DeviceOutcome) -> list[str]:
    cpus = DASH if outcome.stamp is None else str(outcome.stamp).partition(" (")[2][:-1]
    fault = outcome.fault
    result = f"left out: {outcome.left_out}" if outcome.left_out else ""
    if fault is not None:
        result = f"lost: {fault.reason}"
    word = outcome.stamp.word if outcome.stamp else "not reached"
    return [outcome.name, str(outcome.address), cpus, str(outcome.measured), result or word]


def _show_refused(profile: DeviceProfile) -> Iterator[str]:
    if not profile.refused:
        return
    yield ""
    yield "not to be trusted on the board's CPUs"
    rows = [
        [each.region.name, each.engine.name, f"checked.{each.verdict}", each.detail]
        for each in profile.refused
    ]
    yield from table(["region", "engine", "rule", "what was seen"], rows)


def _remarks(profile: DeviceProfile) -> Iterator[str]:
    """What is doubtful about the figures, a line for each thing."""
    for broken in profile.broken:
        names = ", ".join(region.name for region in broken.regions[:3])
        more = f" and {len(broken.regions) - 3} more" if len(broken.regions) > 3 else ""
        for fault in broken.faults:
            yield (
                f"broken, not kept: {names}{more} on {broken.engine.name} of "
                f"{broken.device.name}: {fault.reason} [{fault.kind}]"
            )
    if profile.unsteady:
        shares = (f"{u.region} on {u.unit} ({u.share:.0%})" for u in profile.unsteady)
        yield (
            "unsteady, with the range of the middle half as a share of the median: "
            f"{', '.join(shares)}"
        )
    if profile.unmeasured:
        yield f"not measured, since no device was left: {', '.join(profile.unmeasured)}"
    found = outliers(profile)
    if found["outliers"]:
        yield (
            f"outliers: {found['outliers']} of {found['calls']} calls stand apart, most in "
            f"{found['most']}"
        )


def outliers(profile: DeviceProfile) -> dict[str, Any]:
    """How many calls stand apart from the others of their region, and where most of them are."""
    times = [(region.name, time) for region in profile.regions for time in region.times]
    times += [(_EMPTY_CALL, time) for time in profile.calls]
    distinct = {time.measurement.key: (name, time) for name, time in reversed(times)}
    most = max(distinct.values(), key=lambda pair: pair[1].measurement.outliers, default=None)
    return {
        "outliers": sum(time.measurement.outliers for _, time in distinct.values()),
        "calls": sum(time.measurement.repeats for _, time in distinct.values()),
        "most": ""
        if most is None
        else f"{most[0]} on {most[1].slot} ({most[1].measurement.outliers} of "
        f"{most[1].measurement.repeats})",
    }


def _last_line(profile: DeviceProfile) -> str:
    links = sum(not result.fault for result in profile.links)
    if not profile.kept and not links:
        return "kept: no figure at all"
    kept = (
        f"{counted(profile.kept, 'time')} of regions, {counted(links, 'link')}, "
        f"{counted(len(profile.fits), 'calibration')}"
    )
    board = profile.board.name
    if profile.word == "emulated":
        return (
            f"kept as emulated: {kept}; a plan for {board} takes none of these figures, and only "
            "learns what code is not to be trusted"
        )
    return f"kept: {kept}; the next plan for {board} uses them"


def host_data(profile: Profile) -> dict[str, Any]:
    """The profile of this machine as JSON data; of the board only what was measured."""
    return {
        "model": profile.model,
        "board": profile.board.name,
        "regions": [asdict(region) for region in profile.regions],
        "calls": [asdict(call) for call in profile.calls],
        "links": [asdict(link) for link in profile.board.links],
        "calibration": [_fit(fit) for fit in profile.fits],
        "notes": list(profile.notes),
    }


def devices_data(profile: DeviceProfile) -> dict[str, Any]:
    """The profile of devices as JSON data."""
    return {
        "model": profile.model,
        "board": profile.board.name,
        "word": profile.word,
        "devices": [
            {
                "name": outcome.name,
                "address": str(outcome.address),
                "device": None if outcome.stamp is None else asdict(outcome.stamp),
                "measured": outcome.measured,
                "left_out": outcome.left_out,
                "fault": None
                if outcome.fault is None
                else {"kind": outcome.fault.kind, "reason": outcome.fault.reason},
            }
            for outcome in profile.devices
        ],
        "regions": [asdict(region) for region in profile.regions],
        "calls": [asdict(call) for call in profile.calls],
        "links": [asdict(result) for result in profile.links],
        "calibration": [_fit(fit) for fit in profile.fits],
        "refused": [
            {
                "region": each.region.name,
                "engine": each.engine.name,
                "rule": f"checked.{each.verdict}",
                "detail": each.detail,
            }
            for each in profile.refused
        ],
        "broken": [
            {
                "device": each.device.name,
                "engine": each.engine.name,
                "regions": [region.name for region in each.regions],
                "faults": [asdict(fault) for fault in each.faults],
            }
            for each in profile.broken
        ],
        "unsteady": [asdict(each) for each in profile.unsteady],
        "unmeasured": list(profile.unmeasured),
        "outliers": outliers(profile),
        "kept": profile.kept,
        "notes": list(profile.notes),
    }


def _fit(fit: Fit) -> dict[str, Any]:
    return {
        "engine": fit.after.name,
        "samples": fit.samples,
        "ratio_before": fit.ratio_before,
        "ratio_after": fit.ratio_after,
        "compute_efficiency": fit.after.compute_efficiency.value,
        "memory_efficiency": fit.after.memory_efficiency.value,
        "call_overhead_us": fit.after.call_overhead_us.value,
    }
