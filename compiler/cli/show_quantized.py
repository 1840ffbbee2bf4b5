"""How a model came to its precision, as text: how well it agrees, and what stays in float."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeweave.compiler.cli.text import counted, duration, table

_MEASURES = {
    "iou": "IoU of masks",
    "top1": "same class",
    "equal": "equal integers",
    "cosine": "cosine",
}
_SHOWN = 10  # regions that stay in float, most sensitive first


def show_quantized(report: Mapping[str, Any] | None) -> Iterator[str]:
    """Nothing for a model whose precision was not changed."""
    if report is None:
        return
    yield f"precision: {_how(report)}"
    yield from report["notes"]
    if report["accuracy"]:
        yield ""
        yield f"agreement with float32 on {counted(report['frames'], 'calibration frame')}"
        yield from table(
            ["output", "measure", "agreement", "lowest", "floor", "cosine", "RMS error"],
            [_row(output, report) for output in report["accuracy"]],
        )
    yield from _kept(report)


def _how(report: Mapping[str, Any]) -> str:
    if report["method"] == "given":
        return f"{report['precision']}, as the model is quantised already"
    by = f", ranges by {report['method']}" if report["precision"] == "int8" else ""
    return f"{report['precision']}{by}"


def _row(output: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    floors = report["floors"]
    floor = floors.get(output["name"], floors.get(""))
    before = next((b for b in report["before"] if b["name"] == output["name"]), None)
    was = "" if before is None else f" (all int8: {before['agreement']:.4f})"
    return [
        output["name"],
        _MEASURES[output["measure"]],
        f"{output['agreement']:.4f}{was}",
        f"{output['lowest']:.4f}",
        "" if floor is None else f"{floor:g}",
        f"{output['cosine']:.5f}",
        f"{output['rms']:.3g}",
    ]


def _kept(report: Mapping[str, Any]) -> Iterator[str]:
    kept = report["kept_float"]
    if not kept:
        return
    yield ""
    yield f"in float: {len(kept)} of {counted(report['regions'], 'region')} of the float model"
    for region in kept[:_SHOWN]:
        errors = ", ".join(f"{name} {share:.2%}" for name, share in region["sensitivity"].items())
        where = ""
        if region.get("predicted_s") is not None:
            where = f"; {duration(region['predicted_s'])} predicted on {region['slot']}"
        yield f"  {region['name']}: alone in int8 it moves {errors}{where}"
    if len(kept) > _SHOWN:
        yield f"  … {len(kept) - _SHOWN} more, with --json"
