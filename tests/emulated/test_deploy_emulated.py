"""Bundles for aarch64 through a tracker to an emulated Cortex-A53: equal, and called emulated."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgeweave.compiler.cli import main
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.tracker import Tracker
from edgeweave.targets.kit.emulate import emulated_device

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = Path(__file__).parents[2].parent / "shared" / "models"
KEY = "emulated-a53"
SMALL = """<ir_version: 10, opset_import: ["": 18]>
g (float[64,64] x) => (float[64,64] y) { m = MatMul(x, x) y = Relu(m) }"""
HALF = """<ir_version: 10, opset_import: ["": 18]>
g (float16[1024] x) => (float16[1024] y) { m = Mul(x, x) y = Add(m, x) }"""


@pytest.fixture
def edgeweave(capsys):
    """Run the command line in this process: status, stdout, stderr."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return (int(status), *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def a53(aarch64_emulator, aarch64_kit, tracker, tmp_path_factory):
    """An emulated Cortex-A53 that is registered with the tracker."""
    folder = tmp_path_factory.mktemp("a53")
    options = (
        "--port", "0", "--name", "virtual-a53", "--state", folder / "state",
        "--tracker", f"{tracker.host}:{tracker.port}", "--key", KEY,
    )  # fmt: skip
    with emulated_device(
        aarch64_emulator, aarch64_kit, folder / "log", [*map(str, options)], cpu="cortex-a53"
    ) as device:
        asked = Tracker(Address(tracker.host, tracker.port))
        deadline = time.monotonic() + 60
        while KEY not in asked.summary().keys:
            assert time.monotonic() < deadline, device.said()
            time.sleep(0.1)
        yield device


@pytest.fixture
def options(a53, tracker):
    """Where the emulated device is, by way of the tracker."""
    return ("--rpc", f"{tracker.host}:{tracker.port}", "--key", KEY, "--timeout", "500s")


def saved(text, path):
    path.write_bytes(parser.parse_model(text).SerializeToString())
    return path


def compiled(edgeweave, model, path):
    """The model as a bundle for the virtual board, whose CPU is a Cortex-A53."""
    status, _, err = edgeweave(
        "compile", model, "--board", "quad-virt", "--avoid", "*=cpu/onnxruntime", "-o", path
    )
    assert status == 0, err
    return path


def with_random_weights(model):
    """The same graph with a weight at random in place of each constant one."""
    proto = onnx.load(model)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    generator = np.random.default_rng(7)
    for node in [n for n in proto.graph.node if n.op_type == "ConstantOfShape"]:
        shape = [int(size) for size in shapes[node.input[0]]]
        scale = np.sqrt(2 / max(1, np.prod(shape[1:])))
        weight = (generator.standard_normal(shape) * scale).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
        proto.graph.node.remove(node)
    return proto


def test_squeezenet_is_equal_to_onnx_runtime_and_called_emulated(edgeweave, options, tmp_path):
    """As onnx ships it, with all weights the same; its output is nearly flat."""
    bundle = compiled(edgeweave, LIGHT / "light_squeezenet.onnx", tmp_path / "s.bundle")
    status, out, err = edgeweave(
        "deploy", bundle, *options, "--frames", "1", "--warmup", "0", "--bench", "--verify",
        "--atol", "1e-6",
    )  # fmt: skip
    assert status == 0, err
    assert ", emulated (qemu-user)" in out
    assert "verification against ONNX Runtime, emulated: passed" in out
    assert "measured" not in out
    timed = [line for line in out.splitlines() if re.search(r"\d (us|ms|s)\b", line)]
    assert len(timed) >= 2
    assert all("emulated" in line for line in timed)


@pytest.mark.long
def test_squeezenet_with_weights_at_random_is_equal_too(edgeweave, options, tmp_path):
    model = tmp_path / "squeezenet.onnx"
    onnx.save(with_random_weights(LIGHT / "light_squeezenet.onnx"), model)
    bundle = compiled(edgeweave, model, tmp_path / "s.bundle")
    status, out, err = edgeweave(
        "deploy", bundle, *options, "--frames", "1", "--verify", "--json",
        "--outputs", tmp_path / "y.npz",
    )  # fmt: skip
    assert status == 0, err
    (device,) = json.loads(out)["devices"]
    assert (device["name"], device["word"], device["result"]) == (
        "virtual-a53", "emulated", "verified",
    )  # fmt: skip
    assert device["measurement"]["word"] == "emulated"
    assert device["identity"]["emulated"] == "qemu-user"
    (output,) = device["verification"]["outputs"]
    assert output["max_abs"] <= 1e-3
    with np.load(tmp_path / "y.npz") as outputs:
        (values,) = outputs.values()
    assert np.ptp(values) > 100 * output["max_abs"]  # it could have been wrong


def test_twinlitenet_is_equal_to_onnx_runtime(edgeweave, options, tmp_path):
    model = MODELS / "twinlitenet.onnx"
    if not model.exists():
        pytest.skip(f"{model} is not there")
    bundle = compiled(edgeweave, model, tmp_path / "t.bundle")
    status, out, err = edgeweave("deploy", bundle, *options, "--frames", "1", "--verify", "--json")
    assert status == 0, err
    (device,) = json.loads(out)["devices"]
    assert (device["word"], device["result"]) == ("emulated", "verified")
    assert {output["name"] for output in device["verification"]["outputs"]} == {"da", "ll"}
    assert all(output["max_abs"] <= 1e-3 for output in device["verification"]["outputs"])


@pytest.fixture(scope="module")
def a76_bundle(own_board, compile_stages, tmp_path_factory):
    """Half floats for a Cortex-A76, which computes in them; a Cortex-A53 does not."""
    folder = tmp_path_factory.mktemp("a76")
    model = saved(HALF, folder / "half.onnx")
    target = {"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76", "mattr": ["+fullfp16"]}
    return compile_stages(folder / "half.bundle", model, board=own_board("a76", **target))


def test_code_for_a_cortex_a76_is_refused_with_what_is_missing(edgeweave, options, a76_bundle):
    status, out, err = edgeweave("deploy", a76_bundle, *options, "-q")
    assert status == 5
    assert err.startswith("error: device virtual-a53: its CPU lacks ")
    for feature in ("dotprod", "fullfp16"):
        assert feature in err
    assert "for cortex-a76 uses" in err
    assert "upload" not in out


def test_the_device_refuses_it_by_itself(edgeweave, options, a76_bundle, monkeypatch):
    monkeypatch.setattr("edgeweave.compiler.devices.deploy.check_device", lambda *_, **__: [])
    status, out, err = edgeweave("deploy", a76_bundle, *options, "-q", "--json")
    assert status == 5
    (device,) = json.loads(out)["devices"]
    assert device["fault"]["kind"] == "missing-features"
    assert "fullfp16" in device["fault"]["reason"]
    assert "virtual-a53" in err


def test_without_the_check_its_sigill_is_named_and_the_device_goes_on(
    edgeweave, options, a76_bundle, tmp_path
):
    status, out, err = edgeweave(
        "deploy", a76_bundle, *options, "-q", "--json", "--skip-feature-check"
    )
    assert status == 5
    (device,) = json.loads(out)["devices"]
    assert device["fault"]["kind"] == "session-died"
    assert device["retried"] == []
    assert "SIGILL" in err
    bundle = compiled(edgeweave, saved(SMALL, tmp_path / "m.onnx"), tmp_path / "m.bundle")
    status, out, err = edgeweave("deploy", bundle, *options, "--verify")
    assert status == 0, err
    assert "verification against ONNX Runtime, emulated: passed" in out
