"""From a float model and a folder to a quantised model and its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.graph import view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize import quantized_model
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.quantize import quantize_model
from edgeweave.compiler.quantize.settings import Method, QuantizeSettings
from edgeweave.compiler.regions import find_regions

Weighted = Callable[..., onnx.ModelProto]
Run = Callable[[onnx.ModelProto, Mapping[str, Any]], list[Any]]
Progress = Callable[[str, int, int, str], None]


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_int8_by_each_method(
    segmenter: Model, folder: Path, progress: Progress, method: Method
) -> None:
    done = quantize_model(segmenter, QuantizeSettings("int8", folder, method=method), progress)
    report = done.report
    assert (report.precision, report.method, report.frames) == ("int8", method, 3)
    assert report.files == ("0.npy", "1.npy", "2.npy")
    assert {a.name: a.measure for a in report.accuracy} == {"mask": "iou", "logits": "top1"}
    assert all(a.cosine > 0.97 for a in report.accuracy)
    assert report.output_steps.keys() == {"mask", "logits"}
    assert not report.kept_float
    assert json.loads(json.dumps(report.to_json()))["accuracy"][0]["name"] == "mask"


def test_the_result_is_all_int8_regions(segmenter: Model, folder: Path, progress: Progress) -> None:
    model, _ = quantized_model(segmenter, QuantizeSettings("int8", folder), (), progress)
    regions = find_regions(model).graph.regions
    inner = [r for r in regions if {op.label for op in r.operators} - {"DequantizeLinear"}]
    assert {region.precision for region in inner} == {"int8"}


def test_nothing_is_printed(
    segmenter: Model, folder: Path, progress: Progress, capfd: pytest.CaptureFixture[str]
) -> None:
    for method in ("minmax", "percentile"):
        quantize_model(segmenter, QuantizeSettings("int8", folder, method=method), progress)  # type: ignore[arg-type]
    quantize_model(segmenter, QuantizeSettings("fp16", folder), progress)
    assert capfd.readouterr() == ("", "")


# The channels of c differ by up to ten thousand times, and y needs all of them alike.
PLANTED = """
g (float[1,3,8,8] image) => (float[1,1,8,8] y)
{
    a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(image, w1) b = Tanh(a)
    c = Mul(b, huge) d = Mul(c, tiny) e = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(d, w2)
    f = Relu(e) y = Conv<kernel_shape=[1,1]>(f, w3)
}
"""
SIZES = np.geomspace(1, 1e4, 4).reshape(1, 4, 1, 1)


@pytest.fixture(scope="module")
def planted(weighted: Weighted) -> Model:
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 4, 3, 3), "w3": (1, 4, 1, 1)}
    shapes |= {"huge": (1, 4, 1, 1), "tiny": (1, 4, 1, 1)}
    return load_model(weighted(PLANTED, shapes, huge=SIZES, tiny=1 / SIZES))


@pytest.fixture
def images(planted: Model, tmp_path: Path) -> Path:
    array = np.random.default_rng(4).standard_normal((3, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "frames.npy", array)
    return tmp_path


def test_the_sensitive_regions_stay_in_float(
    planted: Model, images: Path, progress: Progress
) -> None:
    wanted = QuantizeSettings("int8", images, floors={"y": 0.95})
    done = quantize_model(planted, wanted, progress)
    report = done.report
    (before,), (after,) = report.before, report.accuracy
    assert before.agreement < 0.95 <= after.agreement
    assert 0 < len(report.kept_float) < report.regions
    assert any("Mul" in region.operators for region in report.kept_float)
    assert all(region.sensitivity.keys() == {"y"} for region in report.kept_float)
    kept = next(r for r in report.kept_float if "Mul" in r.operators)
    assert kept.sensitivity["y"] > 0.1
    assert "QuantizeLinear" in {node.op_type for node in done.proto.graph.node}
    onnx.checker.check_model(done.proto, full_check=True)


def test_a_floor_that_is_reached_costs_nothing(
    planted: Model, images: Path, progress: Progress
) -> None:
    report = quantize_model(
        planted, QuantizeSettings("int8", images, floors={"": 0.0}), progress
    ).report
    assert report.before == ()
    assert report.kept_float == ()


def test_an_exact_floor_leaves_nothing_in_int8_and_says_so(
    planted: Model, images: Path, progress: Progress
) -> None:
    wanted = QuantizeSettings("int8", images, floors={"": 1.0})
    done = quantize_model(planted, wanted, progress)
    kinds = {node.op_type for node in done.proto.graph.node}
    if "QuantizeLinear" not in kinds:
        assert any("nothing left in int8" in note for note in done.report.notes)
    assert done.report.accuracy[0].agreement == 1.0


def test_a_quantised_model_is_taken_as_it_is(
    segmenter: Model, folder: Path, progress: Progress
) -> None:
    model, _ = quantized_model(segmenter, QuantizeSettings("int8", folder), (), progress)
    again = quantize_model(model, QuantizeSettings("int8", floors={"mask": 0.9}), progress)
    assert again.proto is model.proto
    assert again.report.method == "given"
    assert again.report.output_steps.keys() == {"mask", "logits"}
    assert "taken as it is" in again.report.notes[0]
    assert "no accuracy floor was checked" in again.report.notes[1]


def test_int8_needs_calibration(segmenter: Model, progress: Progress) -> None:
    with pytest.raises(QuantizeError, match=r"needs typical inputs.*--calibration"):
        quantize_model(segmenter, QuantizeSettings("int8"), progress)


def test_a_model_without_layers_is_refused(
    canonical: Callable[[str], Model], tmp_path: Path, progress: Progress
) -> None:
    model = canonical("g (float[1,4] x) => (float[1,4] y) { a = Exp(x) y = Add(a, x) }")
    np.save(tmp_path / "a.npy", np.zeros((1, 4), np.float32))
    with pytest.raises(QuantizeError, match="has no layer that computes in int8"):
        quantize_model(model, QuantizeSettings("int8", tmp_path), progress)


def test_random_models_quantise(
    dags: Callable[..., st.SearchStrategy[onnx.ModelProto]],
    tmp_path_factory: pytest.TempPathFactory,
    progress: Progress,
) -> None:
    generator = np.random.default_rng(2)

    @settings(max_examples=15, deadline=None, database=None)
    @given(dags())
    def check(proto: onnx.ModelProto) -> None:
        model = load_model(proto)
        folder = tmp_path_factory.mktemp("frames")
        arrays = {s.name: generator.standard_normal(s.shape) for s in model.inputs}
        np.savez(folder / "a.npz", **{n: a.astype(np.float32) for n, a in arrays.items()})
        try:
            quantised, report = quantized_model(
                model, QuantizeSettings("int8", folder), (), progress
            )
        except QuantizeError as error:
            assert "has no layer" in error.reason  # noqa: PT017 - most models have one
            return
        assert not quantised.warnings
        assert all(found.cosine > 0.99 for found in report.accuracy)

    check()


def test_an_infinite_value_is_named(weighted: Weighted, tmp_path: Path, progress: Progress) -> None:
    text = """
    g (float[1,3,4,4] x) => (float[1,2,4,4] y)
    { a = Conv<kernel_shape=[1,1]>(x, w) b = Exp(a) y = Conv<kernel_shape=[1,1]>(b, v) }
    """
    model = load_model(weighted(text, {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1)}))
    np.save(tmp_path / "bright.npy", np.full((1, 3, 4, 4), 1e4, np.float32))
    with pytest.raises(QuantizeError, match=r"value 'b': is a NaN or an infinity.*bright\.npy"):
        quantize_model(model, QuantizeSettings("int8", tmp_path), progress)


def test_a_floor_of_no_output_is_refused(
    segmenter: Model, folder: Path, progress: Progress
) -> None:
    with pytest.raises(QuantizeError, match="names no output"):
        quantize_model(segmenter, QuantizeSettings("int8", folder, floors={"q": 0.9}), progress)


def test_softmax_operands_have_steps_for_what_matters(
    weighted: Weighted, tmp_path: Path, progress: Progress
) -> None:
    text = """
    g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w) b = Mul(a, minus) y = Softmax(b) }
    """
    weight = np.diag([1.0, 1.0, 1.0, 1000.0])
    proto = weighted(text, {"w": (4, 4), "minus": ()}, w=weight, minus=np.array(-1.0))
    np.save(tmp_path / "a.npy", np.array([[0.5, -0.5, 1.0, 1.0]], np.float32))
    done = quantize_model(load_model(proto), QuantizeSettings("int8", tmp_path), progress)
    assert done.report.accuracy[0].max_abs < 0.02
    view = view_graph(done.proto)
    scales = [
        float(onnx.numpy_helper.to_array(view.initializers[node.input[1]]))
        for node in view.nodes
        if node.op_type == "QuantizeLinear" and node.input[0] in ("a", "b")
    ]
    assert len(scales) == 2
    assert max(scales) < 0.1
