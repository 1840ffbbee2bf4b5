"""float16 with float32 borders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize import quantized_model
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.half import to_float16
from edgeweave.compiler.quantize.quantize import quantize_model
from edgeweave.compiler.quantize.settings import QuantizeSettings

Run = Callable[[onnx.ModelProto, Mapping[str, Any]], list[Any]]
Progress = Callable[[str, int, int, str], None]


def test_values_are_float16_and_borders_float32(segmenter: Model, folder: Path, run: Run) -> None:
    half = to_float16(segmenter.proto, "model.onnx")
    borders = [*half.graph.input, *half.graph.output]
    assert {info.type.tensor_type.elem_type for info in borders} == {onnx.TensorProto.FLOAT}
    assert {t.data_type for t in half.graph.initializer} == {onnx.TensorProto.FLOAT16}
    frame = {"image": np.load(folder / "0.npy")}
    for a, b in zip(run(segmenter.proto, frame), run(half, frame), strict=True):
        assert 0 < np.abs(a - b).max() < 5e-3 * np.abs(a).max()


def test_the_report_says_how_well_it_agrees(
    segmenter: Model, folder: Path, progress: Progress
) -> None:
    settings = QuantizeSettings("fp16", folder, floors={"mask": 0.9})
    model, report = quantized_model(segmenter, settings, (), progress)
    assert (report.precision, report.frames) == ("fp16", 3)
    assert all(a.cosine > 0.9999 for a in report.accuracy)
    assert any(s.dtype == "float32" for s in model.inputs)


def test_calibration_is_not_needed(segmenter: Model, progress: Progress) -> None:
    report = quantize_model(segmenter, QuantizeSettings("fp16"), progress).report
    assert report.accuracy == ()
    assert "no accuracy was measured" in report.notes[0]


def test_a_floor_needs_frames(segmenter: Model, progress: Progress) -> None:
    with pytest.raises(QuantizeError, match="needs frames to compare"):
        quantize_model(segmenter, QuantizeSettings("fp16", floors={"": 0.9}), progress)


def test_a_floor_that_float16_misses_is_an_error(
    canonical: Callable[[str], Model], tmp_path: Path, progress: Progress
) -> None:
    # both are the greatest number that float16 has
    model = canonical(
        "g (float[1,2] x) => (float[1,2] y) <float[1,2] c = {70000, 80000}> { y = Add(x, c) }"
    )
    np.save(tmp_path / "a.npy", np.zeros((1, 2), np.float32))
    with pytest.raises(QuantizeError, match=r"'y' agrees with float32 to 0 \(top1\)"):
        quantize_model(model, QuantizeSettings("fp16", tmp_path, floors={"": 0.9}), progress)


def test_a_quantised_model_is_refused(segmenter: Model, folder: Path, progress: Progress) -> None:
    model, _ = quantized_model(segmenter, QuantizeSettings("int8", folder), (), progress)
    with pytest.raises(QuantizeError, match="is quantised already"):
        quantize_model(model, QuantizeSettings("fp16"), progress)


def test_what_cannot_be_converted_is_one_error(segmenter: Model) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(segmenter.proto)
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(QuantizeError, match=r"model\.onnx: cannot be converted to float16: "):
        to_float16(broken, "model.onnx")
