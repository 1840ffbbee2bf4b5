"""A quantised stage from ONNX to files, and through LiteRT's reference kernels here."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import parser

from edgeweave.compiler.pack import BuiltStage, stage_entry
from edgeweave.runtime.runners import find_loader
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Slot, StageModel
from edgeweave.targets.errors import BuildError, TargetError
from edgeweave.targets.npu_ethos_u.backend import BACKEND, NpuEthosUBackend
from edgeweave.targets.npu_ethos_u.errors import SramTooSmallError, VelaMissingError
from edgeweave.targets.npu_ethos_u.memo import Memo
from edgeweave.targets.npu_ethos_u.vela import Vela
from edgeweave.targets.registry import find_backend

NODES = """
    c = DequantizeLinear (x, sx, zx)
    v = DequantizeLinear <axis = 0> (w, sw, zw)
    d = DequantizeLinear <axis = 0> (b, sb)
    h = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (c, v, d)
    r = Relu (h)
    y = QuantizeLinear (r, sy, zy)
"""
X, Y = ValueSpec("x", "tensor(int8)", (1, 3, 16, 16)), ValueSpec("y", "tensor(int8)", (1, 8, 8, 8))


def stage(nodes=NODES):
    """A convolution with Relu: int8 in, int8 out, weights per channel."""
    draw = np.random.default_rng(4)
    scales = draw.uniform(0.002, 0.01, 8).astype(np.float32)
    constants = {
        "sx": np.float32(0.02),
        "zx": np.int8(3),
        "sy": np.float32(0.05),
        "zy": np.int8(-128),
        "w": draw.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8),
        "sw": scales,
        "zw": np.zeros(8, np.int8),
        "b": draw.integers(-2000, 2000, 8).astype(np.int32),
        "sb": scales * np.float32(0.02),
    }
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (int8[1,3,16,16] x) => (int8[1,8,8,8] y) {'
        f"{nodes}}}"
    )
    tensors = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    model.graph.initializer.extend(tensors)
    return StageModel("s0", Slot("npu", "npu_ethos_u"), (), model, (X,), (Y,))


@pytest.fixture
def backend(process, empty_cache):
    return NpuEthosUBackend(vela=Vela(process, Memo()))


def run_here(artifact, values):
    """The artifact as a bundle's runtime opens and runs it."""
    entry = stage_entry(
        BuiltStage("s0", Slot("npu", "npu_ethos_u"), (), (X,), (Y,), 0.0, artifact, b"")
    )
    runner = find_loader(entry, {})(entry, artifact.folder, ())
    try:
        return runner.run(values)
    finally:
        runner.close()


def test_the_registry_finds_it_and_it_eats_onnx(npu):
    assert find_backend("npu_ethos_u") is BACKEND
    assert (BACKEND.name, BACKEND.consumes, BACKEND.estimates) == ("npu_ethos_u", "onnx", True)
    assert BACKEND.target(npu()) is None
    assert BACKEND.missing() == ""


@pytest.mark.parametrize("generation", ["u55", "u65", "u85"])
def test_a_stage_becomes_files_with_an_estimate(backend, npu, tmp_path, generation):
    artifact = backend.build(stage(), None, npu(generation), tmp_path / "new")
    assert (artifact.kind, artifact.host_run) == ("litert", "reference")
    assert artifact.files == ("stage.tflite", "stage_vela.tflite", "vela.json")
    assert sorted(p.name for p in artifact.folder.iterdir()) == sorted(artifact.files)
    assert b"ethos-u" in (artifact.folder / "stage_vela.tflite").read_bytes()
    report = json.loads((artifact.folder / "vela.json").read_text())
    assert report == artifact.estimate.details
    assert report["accelerator"] == npu(generation).vendor["accelerator"]
    assert artifact.estimate.seconds == report["total_cycles"] / report["core_clock_hz"] > 0
    assert (report["npu_ops"] > 0, report["cpu_ops"]) == (True, 0)
    assert report["macs"] >= 8 * 8 * 8 * 3 * 9
    json.dumps(artifact.options)
    assert artifact.options["vendor"] == npu(generation).vendor


def test_what_runs_here_is_within_a_step_of_onnx_runtime(backend, npu, tmp_path):
    import onnxruntime

    artifact = backend.build(stage(), None, npu(), tmp_path)
    x = np.random.default_rng(5).integers(-128, 128, (1, 3, 16, 16)).astype(np.int8)
    (got,) = run_here(artifact, [x])
    session = onnxruntime.InferenceSession(stage().model.SerializeToString())
    (wanted,) = session.run(None, {"x": x})
    assert got.dtype == np.int8
    assert len(np.unique(got)) > 50
    assert np.abs(got.astype(int) - wanted).max() <= 1


def test_two_builds_are_the_same_bytes(process, npu, tmp_path, monkeypatch):
    built = []
    for name in ("1", "2"):
        monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path / f"cache-{name}"))
        backend = NpuEthosUBackend(vela=Vela(process, Memo()))
        built.append(backend.build(stage(), None, npu(), tmp_path / name))
    first, second = built
    for name in first.files:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_what_the_emitter_refuses_is_named_with_its_rule(backend, npu, tmp_path):
    odd = NODES.replace("r = Relu (h)", "r = Erf (h)")
    with pytest.raises(
        BuildError, match=r"s0: .*Erf.*\(rule ethos-u\.quantised\)\. Keep .* off npu"
    ):
        backend.build(stage(odd), None, npu(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_wrong_settings_are_the_engines_fault(backend, npu, tmp_path):
    with pytest.raises(TargetError, match="engine npu: Vela has no memory_mode 'Fast'"):
        backend.build(stage(), None, npu(memory_mode="Fast"), tmp_path)


def test_the_engines_memory_is_the_sram(backend, npu, tmp_path):
    engine = npu("u55", memory_mib=0.001)
    with pytest.raises(SramTooSmallError, match="the engine's memory_mib is 1 KiB"):
        backend.build(stage(), None, engine, tmp_path)
    assert backend.build(stage(), None, npu("u55", memory_mib=1), tmp_path)


def test_a_folder_that_cannot_be_made_is_named(backend, npu, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match=r"s0: .*file.* cannot be written"):
        backend.build(stage(), None, npu(), tmp_path / "file" / "new")


@pytest.mark.usefixtures("nothing_installed")
def test_without_the_extra_it_says_which_to_install(npu, tmp_path):
    sentence = "Vela and LiteRT are not installed: pip install 'edgeweave[ethos-u]'"
    assert BACKEND.missing() == sentence
    with pytest.raises(VelaMissingError) as caught:
        BACKEND.build(stage(), None, npu(), tmp_path)
    assert str(caught.value) == f"s0: {sentence}"
    assert BACKEND.fingerprint().startswith(
        "ethos-u-vela not installed, ai-edge-litert not installed, edgeweave "
    )


def test_the_fingerprint_names_the_versions():
    from importlib.metadata import version

    for name in ("ethos-u-vela", "ai-edge-litert", "edgeweave"):
        assert f"{name} {version(name)}" in BACKEND.fingerprint()


def test_a_stage_of_several_outputs_keeps_their_order(backend, npu, tmp_path):
    both = NODES + "z = DequantizeLinear (y, sy, zy)\n k = MaxPool <kernel_shape = [2, 2]> (z)\n"
    both += "q = QuantizeLinear (k, sy, zy)\n"
    made = stage(both)
    value = onnx.helper.make_tensor_value_info("q", onnx.TensorProto.INT8, [1, 8, 7, 7])
    made.model.graph.output.insert(0, value)
    q = ValueSpec("q", "tensor(int8)", (1, 8, 7, 7))
    made = dataclasses.replace(made, outputs=(q, Y))
    artifact = backend.build(made, None, npu(), tmp_path)
    entry = stage_entry(
        BuiltStage("s0", Slot("npu", "npu_ethos_u"), (), (X,), (q, Y), 0.0, artifact, b"")
    )
    runner = find_loader(entry, {})(entry, artifact.folder, ())
    x = np.random.default_rng(6).integers(-128, 128, (1, 3, 16, 16)).astype(np.int8)
    pooled, whole = runner.run([x])
    windows = np.lib.stride_tricks.sliding_window_view(whole, (2, 2), (2, 3))
    np.testing.assert_array_equal(pooled, windows.max((4, 5)))
    runner.close()
