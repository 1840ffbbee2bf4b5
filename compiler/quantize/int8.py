"""A float model in int8: ranges, equal channels, roundings, and what has to stay in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx

from edgeweave.compiler.graph import GraphView, view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.accuracy import OutputAccuracy, Outputs, measure_accuracy
from edgeweave.compiler.quantize.calibration import Calibration
from edgeweave.compiler.quantize.equalize import equalize
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.mixed import find_mix, missed
from edgeweave.compiler.quantize.points import find_points
from edgeweave.compiler.quantize.prepare import prepare
from edgeweave.compiler.quantize.qdq import insert_qdq
from edgeweave.compiler.quantize.ranges import Ranges, find_channel_ranges, find_ranges
from edgeweave.compiler.quantize.report import FloatRegion, Quantised, QuantizeReport
from edgeweave.compiler.quantize.sensitivity import Sensitivity, measure_sensitivity
from edgeweave.compiler.quantize.settings import QuantizeSettings
from edgeweave.compiler.quantize.steps import output_steps
from edgeweave.compiler.regions import Regions, find_regions

if TYPE_CHECKING:
    from edgeweave.compiler.quantize import Progress

# Sensitivities only rank the regions, each with a few runs; the verdict is on all frames.
_RANKING_FRAMES = 4
_DOUBTFUL = 0.9  # an agreement to tell the user of
_LARGE_FLOPS = 1e9  # of a model that is ranked with one frame


def to_int8(
    model: Model,
    settings: QuantizeSettings,
    calibration: Calibration,
    expected: list[Outputs],
    progress: Progress,
) -> Quantised:
    """The model in int8, and in float where the floors need it; ``expected`` are its outputs.

    Raises QuantizeError where nothing of it can be quantised.
    """
    prepared = view_graph(prepare(model.proto))
    sizes = find_channel_ranges(prepared, calibration, progress)
    view = view_graph(equalize(prepared, sizes))
    ranges = find_ranges(view.proto, calibration, settings.method, progress)
    whole = insert_qdq(view, ranges)
    if whole is None:
        raise QuantizeError(
            str(model.path),
            "has no layer that computes in int8: none with float32 values and constant weights",
            "Compile it without --quantize int8",
        )
    accuracy = measure_accuracy(whole, calibration.frames, expected)
    regions = find_regions(replace(model, proto=view.proto))
    report = QuantizeReport(
        precision="int8",
        method=settings.method,
        frames=len(calibration.frames),
        files=calibration.files,
        accuracy=accuracy,
        floors=settings.floors,
        regions=len(regions.nodes),
        output_steps=output_steps(view_graph(whole), ranges),
    )
    done = Quantised(whole, replace(report, notes=_doubts(accuracy)))
    if not missed(accuracy, settings.floors):
        return done
    return _mixed(model, done, _Work(view, regions, ranges, calibration, expected), progress)


def _doubts(accuracy: Sequence[OutputAccuracy]) -> tuple[str, ...]:
    return tuple(
        f"output {found.name!r} agrees with float32 to {found.agreement:.3g} only "
        f"({found.measure}); --accuracy-floor leaves what costs most in float"
        for found in accuracy
        if found.agreement < _DOUBTFUL
    )


@dataclass(frozen=True)
class _Work:
    """What mixed precision tries out: the prepared model, its ranges, and the frames."""

    view: GraphView
    regions: Regions
    ranges: Ranges
    calibration: Calibration
    expected: list[Outputs]

    def quantised(self, kept_float: Sequence[int]) -> onnx.ModelProto | None:
        """The model in int8 but for these regions; None where nothing is left in int8."""
        nodes = self.view.nodes
        names = {nodes[p].name for r in kept_float for p in self.regions.nodes[r]}
        return insert_qdq(self.view, self.ranges, names)


def _mixed(model: Model, whole: Quantised, work: _Work, progress: Progress) -> Quantised:
    """The model with the fewest regions in float that reaches the floors."""
    report, frames = whole.report, work.calibration.frames
    flops = sum(region.flops for region in work.regions.graph.regions)
    few = 1 if flops > _LARGE_FLOPS else _RANKING_FRAMES
    points = find_points(work.view, whole.proto)
    sensitivity = measure_sensitivity(
        work.regions, points, frames[:few], work.expected[:few], progress
    )

    def verdict(kept_float: Sequence[int]) -> tuple[OutputAccuracy, ...]:
        progress("mixed precision", len(kept_float), len(work.regions.nodes), "regions in float")
        proto = work.quantised(kept_float)
        return measure_accuracy(proto or model.proto, frames, work.expected)

    failing = missed(report.accuracy, report.floors)
    mix = find_mix(sensitivity, failing, report.floors, verdict)
    proto = work.quantised(mix.regions)
    notes = () if proto is not None else ("the floor is only reached with nothing left in int8",)
    proto = proto or model.proto
    return Quantised(
        proto,
        replace(
            report,
            accuracy=mix.accuracy,
            before=report.accuracy,
            kept_float=tuple(_float_region(work.regions, sensitivity, r) for r in mix.regions),
            output_steps=output_steps(view_graph(proto), work.ranges),
            notes=(*_doubts(mix.accuracy), *notes),
        ),
    )


def _float_region(regions: Regions, sensitivity: Sensitivity, index: int) -> FloatRegion:
    region = regions.graph.regions[index]
    return FloatRegion(
        name=region.name,
        operators=tuple(operator.label for operator in region.operators),
        result=region.outputs[0].name,
        sensitivity=sensitivity.of_region(index),
    )
