"""A deployment as text: each device with what it was sent, its times and what was compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeweave.compiler.cli.show_run import show_inputs, show_verification
from edgeweave.compiler.cli.text import DASH, counted, digits, duration, size, table

_HUNDRED = 100  # below so many frames the nearest-rank p99 is the maximum
_KEYS = ("p50_s", "p90_s", "p99_s", "p999_s", "max_s")
_NAMES = ("p50", "p90", "p99", "p99.9", "max")


def show_deploy(data: Mapping[str, Any]) -> Iterator[str]:
    """Everything about one deployment of a bundle."""
    yield f"{data['model']} on {data['board']}, from {data['bundle']}"
    yield show_inputs(data["inputs"])
    for device in data["devices"]:
        yield ""
        yield from _device(device, data)
    if len(data["devices"]) > 1:
        yield ""
        yield from _summary(data["devices"])


def _device(device: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    yield f"device {device['name']} at {device['address']}: {_described(device['identity'])}"
    if device["upload"] is not None:
        yield f"  upload: {_upload(device['upload'])}"
    for retried in device["retried"]:
        yield f"  tried again: {retried}"
    for note in device["notes"]:
        yield f"  note: {note}"
    if device["before"] is not None:
        yield f"  {_state(device['before'], device['after'], device['word'])}"
    if device["measurement"] is not None:
        yield from _times(device, data)
    if device["verification"] is not None:
        yield from (
            f"  {line}" for line in show_verification(device["verification"], device["word"])
        )
    if device["fault"] is not None:
        yield f"  FAILED: {device['fault']['message']}"


def _described(identity: Mapping[str, Any] | None) -> str:
    if identity is None:
        return "not reached"
    parts = Counter(cpu["part"] or "unknown" for cpu in identity["cpus"])
    cores = " + ".join(f"{count} x {part}" for part, count in parts.items())
    how = f", emulated ({identity['emulated']})" if identity["emulated"] else ""
    return f"{identity['arch']}, {cores}{how}"


def _upload(upload: Mapping[str, Any]) -> str:
    files = counted(upload["files"], "file")
    amount = f"{size(upload['sent_bytes'])} of {size(upload['bytes'])}"
    there = f"{upload['present_files']} there already"
    return f"{upload['sent_files']} of {files} sent, {there}; {amount} sent"


def _state(before: Mapping[str, Any], after: Mapping[str, Any], word: str) -> str:
    governors = dict.fromkeys(core["governor"] or "unknown" for core in before["cores"])
    governor = ", ".join(governors) or "unknown"
    temperatures = [before["temperature_c"], after["temperature_c"]]
    if None in temperatures:
        return f"governor: {governor}; temperature: not readable"
    first, last = (f"{celsius:.1f} °C" for celsius in temperatures)
    return f"governor: {governor}; temperature, {word}: {first} before, {last} after"


def _times(device: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    measured = device["measurement"]
    word, frames = measured["word"], measured["frames"]
    counts = f"{counted(frames, 'frame')}, {measured['warmup']} before"
    predicted = duration(data["predicted"]["latency_s"])
    if not data["bench"]:
        p50 = duration(measured["latency"]["p50_s"])
        yield f"  latency, {word}: {p50} (median of {counts}); predicted: {predicted}"
        return
    few = f"; p99 and above of {frames} frames are their maximum" if frames < _HUNDRED else ""
    yield f"  latency of frames that run alone on the device, {word} ({counts}{few})"
    rows = [["frame", word, *_cells(measured["latency"]), predicted, _ratio(device["ratio"])]]
    for stage in data["stages"]:
        latency = measured["stages"][stage["name"]]
        rows.append([stage["name"], word, *_cells(latency), duration(stage["predicted_s"]), ""])
    headers = ["", "", *_NAMES, "predicted", f"p50, {word} / predicted"]
    yield from (f"  {line}" for line in table(headers, rows))
    yield f"    {_misses(measured, data['budget_s'])}"
    yield "    stages ran one after another on the device, so there is no interval"


def _cells(latency: Mapping[str, Any]) -> list[str]:
    return [duration(latency[key]) for key in _KEYS]


def _ratio(value: float | None) -> str:
    return DASH if value is None else digits(value)


def _misses(measured: Mapping[str, Any], budget_s: float | None) -> str:
    if budget_s is None:
        return "no budget was set"
    return (
        f"over the budget of {duration(budget_s)}, {measured['word']}: "
        f"{measured['misses']} of {measured['frames']} frames"
    )


def _summary(devices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = []
    for device in devices:
        measured = device["measurement"]
        p50 = f"{duration(measured['latency']['p50_s'])} {measured['word']}" if measured else DASH
        fault = device["fault"]["message"] if device["fault"] else ""
        rows.append([device["name"], device["address"], device["result"], p50, fault])
    yield from table(["device", "address", "result", "p50", "fault"], rows)
    for word in dict.fromkeys(device["result"] for device in devices):
        number = sum(device["result"] == word for device in devices)
        yield f"{word}: {number} of {counted(len(devices), 'device')}"
