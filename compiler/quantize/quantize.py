"""From a float model and calibration frames to a model in another precision, with its accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from edgeweave.compiler.graph import view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.accuracy import Outputs, measure_accuracy
from edgeweave.compiler.quantize.calibration import Calibration, read_calibration
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.half import to_float16
from edgeweave.compiler.quantize.int8 import to_int8
from edgeweave.compiler.quantize.mixed import check_floors, missed
from edgeweave.compiler.quantize.qdq import is_quantised
from edgeweave.compiler.quantize.report import Quantised, QuantizeReport
from edgeweave.compiler.quantize.sessions import Session
from edgeweave.compiler.quantize.settings import QuantizeSettings
from edgeweave.compiler.quantize.steps import output_steps

if TYPE_CHECKING:
    from edgeweave.compiler.quantize import Progress


def quantize_model(model: Model, settings: QuantizeSettings, progress: Progress) -> Quantised:
    """The canonical float model in the precision that ``settings`` ask for.

    A model that is quantised already is returned as it is. Raises QuantizeError where there is no
    calibration, where it does not fit the model, and where nothing of the model can be quantised.
    """
    check_floors(settings.floors, [spec.name for spec in model.outputs])
    if settings.precision == "fp16":
        return _to_fp16(model, settings, progress)
    if is_quantised(model):
        return _as_given(model, settings)
    calibration = _calibration(model, settings)
    expected = _run_frames(model.proto, calibration, progress)
    return to_int8(model, settings, calibration, expected, progress)


def _as_given(model: Model, settings: QuantizeSettings) -> Quantised:
    notes = ["the model is quantised already and taken as it is"]
    if settings.floors:
        notes.append("no accuracy floor was checked: there is no float model to compare with")
    steps = output_steps(view_graph(model.proto), {})
    report = QuantizeReport("int8", "given", output_steps=steps, notes=tuple(notes))
    return Quantised(model.proto, report)


def _to_fp16(model: Model, settings: QuantizeSettings, progress: Progress) -> Quantised:
    """In float16; floors are only checked, for no region is known to reach them."""
    if is_quantised(model):
        raise QuantizeError(
            str(model.path),
            "is quantised already, and float16 is for float models",
            "Compile it with --quantize int8, which takes it as it is",
        )
    proto = to_float16(model.proto, str(model.path))
    if settings.calibration is None:
        if settings.floors:
            raise QuantizeError(
                "--accuracy-floor",
                "needs frames to compare float16 with float32 on",
                "Give a folder of them with --calibration",
            )
        note = "no accuracy was measured: no calibration frames were given"
        return Quantised(proto, QuantizeReport("fp16", "rounding", notes=(note,)))
    calibration = _calibration(model, settings)
    expected = _run_frames(model.proto, calibration, progress)
    accuracy = measure_accuracy(proto, calibration.frames, expected)
    for name in missed(accuracy, settings.floors):
        found = next(a for a in accuracy if a.name == name)
        raise QuantizeError(
            str(model.path),
            f"output {name!r} agrees with float32 to {found.agreement:.4g} ({found.measure}) in "
            "float16, below its floor",
            "Lower --accuracy-floor, or compile it without --quantize fp16",
        )
    report = QuantizeReport(
        precision="fp16",
        method="rounding",
        frames=len(calibration.frames),
        files=calibration.files,
        accuracy=accuracy,
        floors=settings.floors,
    )
    return Quantised(proto, report)


def _calibration(model: Model, settings: QuantizeSettings) -> Calibration:
    if settings.calibration is None:
        raise QuantizeError(
            str(model.path),
            "is a float model, and int8 needs typical inputs to find the ranges of its values",
            "Give a folder of them with --calibration",
        )
    return read_calibration(
        settings.calibration, model.inputs, settings.preprocessing, settings.limit
    )


def _run_frames(
    proto: onnx.ModelProto, calibration: Calibration, progress: Progress
) -> list[Outputs]:
    """The outputs of a model for every frame."""
    session = Session(proto)
    outputs: list[Outputs] = []
    for index, frame in enumerate(calibration.frames):
        progress("reference", index, len(calibration.frames), calibration.sources[index])
        outputs.append(session.run(frame))
    return outputs
