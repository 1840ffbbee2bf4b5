"""Quantised models as a user types them: for a board with an NPU, and what goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.pipeline import Pipeline

NETWORK = """<ir_version: 8, opset_import: ["": 17]>
g (float[1,3,32,32] x) => (float[1,2,32,32] mask) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
    r = Relu(a)
    b = Conv <pads = [1, 1, 1, 1]> (r, w1, b1)
    s = Add(b, r)
    t = Relu(s)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (t)
    u = ConvTranspose <strides = [2, 2]> (p, w2, b2)
    mask = Conv (u, w3, b3)
}"""
SHAPES = {"w0": (8, 3, 3, 3), "w1": (8, 8, 3, 3), "w2": (8, 8, 2, 2), "w3": (2, 8, 1, 1)}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    proto = onnx.parser.parse_model(NETWORK)
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        weight = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        bias = 0.1 * random.standard_normal(shape[1] if name == "w2" else shape[0])
        proto.graph.initializer.extend(
            numpy_helper.from_array(array.astype(np.float32), label)
            for label, array in ((name, weight), (f"b{name[1]}", bias))
        )
    path = tmp_path_factory.mktemp("network") / "masks.onnx"
    onnx.save(proto, path)
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(1)
    for number in range(3):
        np.save(folder / f"{number}.npy", random.random((1, 3, 32, 32), np.float32))
    return folder


@pytest.fixture(scope="module")
def compiled(
    network: Path, frames: Path, typed: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    bundle = tmp_path_factory.mktemp("bundle") / "masks.bundle"
    said = typed(
        "compile", network, "--board", "imx93", "--quantize", "int8", "--calibration", frames,
        "--objective", "latency", "--budget", "35ms", "-o", bundle, "--json",
        # the NPU takes all that it can
        "--place", "r*Conv*=npu", "--place", "r*Add*=npu", "--place", "r*Pool*=npu",
    )  # fmt: skip
    assert said.status == 0, said.err
    return bundle, json.loads(said.out)


def test_the_npu_runs_what_lies_between_the_conversions(compiled: Any) -> None:
    bundle, data = compiled
    (stage,) = [s for s in data["stages"] if s["slot"]["backend"] == "npu_ethos_u"]
    assert stage["sources"] == {"vendor-estimated": len(stage["regions"])}
    with open_bundle(bundle) as opened:
        (npu,) = [s for s in opened.manifest.stages if s.backend == "npu_ethos_u"]
        report = json.loads((opened.stage_folder(npu) / "vela.json").read_text())
        assert (npu.kind, npu.host_run) == ("litert", "reference")
        assert set(npu.files) == {"stage.tflite", "stage_vela.tflite", "vela.json"}
    assert report["cpu_ops"] == 0
    for key in ("accelerator", "system_config", "memory_mode", "version"):
        assert report[key]
    (choice,) = [c for c in data["build"] if c["slot"]["backend"] == "npu_ethos_u"]
    (candidate,) = choice["candidates"]
    assert candidate["seconds"] is None
    assert candidate["estimate"]["details"]["accelerator"] == "ethos-u65-256"


def test_the_accuracy_against_float32_is_told(compiled: Any) -> None:
    (output,) = compiled[1]["quantized"]["accuracy"]
    assert (output["name"], output["measure"]) == ("mask", "iou")
    assert 0.8 < output["lowest"] <= output["agreement"] <= 1
    assert 0 < output["rms"] < output["max_abs"]
    assert compiled[1]["quantized"]["files"] == ["0.npy", "1.npy", "2.npy"]


def test_a_run_here_is_a_reference_and_every_bit_of_it_agrees(
    compiled: Any, edgeweave: Callable[..., Any]
) -> None:
    said = edgeweave("run", compiled[0], "--verify", "--frames", "4")
    assert said.status == 0, said.err
    assert "ONNX Runtime stands in for it" in said.err
    assert "latency of frames that run alone, reference" in said.out
    assert "say how long it takes here, and nothing about the board" in said.out
    assert "over the budget" not in said.out
    assert "differ in 0 of 8,192 values" in said.out
    assert "2 steps are allowed" in said.out
    assert "layer by layer, each given ONNX Runtime's own values" in said.out


def test_a_run_as_json_has_no_ratio_to_a_prediction(
    compiled: Any, edgeweave: Callable[..., Any]
) -> None:
    data = json.loads(edgeweave("run", compiled[0], "--verify", "--frames", "2", "--json").out)
    assert data["measurement"]["word"] == "reference"
    assert data["ratio"] == {"latency": None, "interval": None}
    (stage,) = data["verification"]["stages"]
    assert (stage["differing"], stage["passed"]) == (0, True)
    assert stage["layers"]["layers"] >= 4
    assert stage["layers"]["steps"] <= 1
    assert (
        data["verification"]["outputs"][0]["max_abs"]
        <= 2.01 * (data["verification"]["output_steps"]["mask"])
    )


def test_a_reference_that_is_not_the_npus_arithmetic_fails_the_verification(
    compiled: Any, edgeweave: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeweave.targets.npu_ethos_u.integer import evaluate as module

    real = module.evaluate

    def off_by_one(blob: bytes, inputs: Any) -> list[Any]:
        first, *rest = real(blob, inputs)
        first = first.copy()
        first.flat[0] ^= 1
        return [first, *rest]

    monkeypatch.setattr(module, "evaluate", off_by_one)
    said = edgeweave("run", compiled[0], "--verify", "--frames", "2")
    assert said.status == 7
    assert "2 of 4096 values of LiteRT's reference kernels are not" in said.err


def test_a_layer_that_is_far_from_onnx_runtimes_fails_the_verification(
    compiled: Any, edgeweave: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeweave.compiler import layer_check

    real = layer_check._integers

    def one_layer_off(stage: Any, values: Any) -> dict[str, Any]:
        made = real(stage, values)
        off = 5 if "Add" in stage.name else 0
        return {name: np.clip(value, -100, 100) + off for name, value in made.items()}

    monkeypatch.setattr(layer_check, "_integers", one_layer_off)
    said = edgeweave("run", compiled[0], "--verify", "--frames", "2")
    assert said.status == 7
    assert "steps from ONNX Runtime, given its values" in said.err
    assert "Add" in said.err


def test_the_bundle_computes_what_onnx_runtime_does(compiled: Any) -> None:
    import onnxruntime

    with open_bundle(compiled[0]) as bundle, Pipeline(bundle) as pipeline:
        assert bundle.reference is not None
        x = np.random.default_rng(7).random((1, 3, 32, 32), np.float32)
        (wanted,) = onnxruntime.InferenceSession(bundle.reference).run(None, {"x": x})
        step = bundle.manifest.output_steps["mask"]
        assert np.abs(pipeline.run({"x": x})["mask"] - wanted).max() <= 2.01 * step
    kinds = {node.op_type for node in onnx.load(bundle.path / "reference.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


def test_a_quantised_model_is_taken_as_it_is(compiled: Any, edgeweave: Callable[..., Any]) -> None:
    given = compiled[0] / "reference.onnx"
    plain = edgeweave("plan", given, "--board", "imx93", "--json")
    asked = edgeweave("plan", given, "--board", "imx93", "--quantize", "int8")
    assert (plain.status, asked.status) == (0, 0)
    assert json.loads(plain.out)["quantized"] is None
    assert "precision: int8, as the model is quantised already" in asked.out


def test_a_floor_leaves_regions_in_float_and_says_what_they_take(
    network: Path, frames: Path, edgeweave: Callable[..., Any]
) -> None:
    given = ("plan", network, "--board", "imx93", "--quantize", "int8", "--calibration", frames)
    plain = json.loads(edgeweave(*given, "--json").out)["quantized"]["accuracy"][0]["agreement"]
    floor = plain + 0.5 * (1 - plain)
    said = edgeweave(*given, "--accuracy-floor", f"mask={floor:.4f}")
    data = json.loads(edgeweave(*given, "--accuracy-floor", f"mask={floor:.4f}", "--json").out)
    report = data["quantized"]
    assert report["accuracy"][0]["agreement"] >= floor > report["before"][0]["agreement"]
    assert report["kept_float"]
    for region in report["kept_float"]:
        assert region["predicted_s"] > 0
        assert region["slot"].startswith("a55/")
    assert f"in float: {len(report['kept_float'])} of {report['regions']} regions" in said.out
    assert "alone in int8 it moves mask" in said.out
    assert "predicted on a55/" in said.out
    assert "(all int8: " in said.out


def test_fp16_is_planned_for_engines_that_have_it(
    network: Path, frames: Path, edgeweave: Callable[..., Any]
) -> None:
    said = edgeweave(
        "plan", network, "--board", "rk3588", "--quantize", "fp16", "--calibration", frames
    )
    assert said.status == 0, said.err
    assert "precision: fp16" in said.out
    assert "IoU of masks" in said.out
    given = ("plan", network, "--board", "rk3588", "--quantize", "fp16", "--calibration", frames)
    data = json.loads(edgeweave(*given, "--json").out)
    assert data["quantized"]["accuracy"][0]["agreement"] > 0.98
    npus = [p for p in data["placements"][1]["alternatives"] if p["slot"]["engine"] == "npu0"]
    assert "the region is float16" in npus[0]["reason"] or not npus[0]["rule"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds no calibration frame"),
        ({"a.npy": np.zeros((1, 3, 8, 8), np.float32)}, "a.npy"),
        ({"a.npy": np.full((1, 3, 32, 32), np.nan, np.float32)}, "a.npy"),
    ],
)
def test_bad_calibration_is_one_message(
    files: dict[str, Any], told: str, network: Path, tmp_path: Path, edgeweave: Callable[..., Any]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, array in files.items():
        np.save(folder / name, array)
    bundle = tmp_path / "b"
    said = edgeweave(
        "compile", network, "--board", "imx93", "--quantize", "int8", "--calibration", folder,
        "-o", bundle,
    )  # fmt: skip
    assert said.status == 6
    assert said.err.startswith("error: ") or "\nerror: " in said.err
    assert told in said.err
    assert not bundle.exists()


def test_a_float_model_needs_frames(network: Path, edgeweave: Callable[..., Any]) -> None:
    said = edgeweave("plan", network, "--board", "imx93", "--quantize", "int8")
    assert said.status == 6
    assert "Give a folder of them with --calibration" in said.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--calibration", "{frames}"), "--calibration goes with --quantize"),
        (("--accuracy-floor", "0.9"), "--accuracy-floor goes with --quantize"),
        (("--quantize", "int8", "--accuracy-floor", "2"), "is no agreement from 0 to 1"),
        (("--quantize", "int8", "--mean", "a,b"), "is no list of numbers"),
        (("--quantize", "int4"), "int4"),
        (("--quantize", "int8", "--calibration", "nowhere"), "nowhere"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    options: tuple[str, ...], told: str, network: Path, frames: Path, edgeweave: Callable[..., Any]
) -> None:
    given = [option.format(frames=frames) for option in options]
    said = edgeweave("plan", network, "--board", "imx93", *given)
    assert said.status == 2
    assert told in said.err


WITHOUT_VELA = """
import sys
sys.modules["ethosu"] = sys.modules["ai_edge_litert"] = None
from edgeweave.compiler.cli import main
sys.exit(main())
"""


def test_without_vela_a_board_still_plans_and_compile_says_what_to_install(
    compiled: Any, tmp_path: Path
) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_VELA, *map(str, arguments)]
        env = os.environ | {"EDGEWEAVE_CACHE_DIR": str(tmp_path / "cache")}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    given = (compiled[0] / "reference.onnx", "--board", "imx93", "--place", "r*Conv*=npu")
    planned = run("plan", *given)
    assert planned.returncode == 0, planned.stderr
    assert "npu_ethos_u" in planned.stdout
    assert "vendor-estimated" not in planned.stdout
    assert "note: npu_ethos_u cannot estimate or build: " in planned.stderr
    assert "pip install 'edgeweave[ethos-u]'" in planned.stderr
    bundle = tmp_path / "b"
    said = run("compile", *given, "-o", bundle)
    assert said.returncode == 6
    assert "pip install 'edgeweave[ethos-u]'" in said.stderr
    assert "Traceback" not in said.stderr
    assert not bundle.exists()
