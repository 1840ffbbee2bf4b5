"""``edgeweave deploy``: what it refuses, and what it says of devices that do not serve it."""

from __future__ import annotations

import json
import shlex
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import parser

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.session import open_session


def rpc(place):
    return f"{place.host}:{place.port}"


@pytest.fixture
def device(start_device):
    return start_device("--name", "rack-01")


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 9), np.float32), "input 'x': expected shape 2x8, got 2x9"),
        (np.zeros((2, 8), np.float64), "input 'x': expected dtype float32, got float64"),
    ],
)
def test_an_input_of_wrong_shape_or_dtype_is_told_before_a_device_is_asked(
    edgeweave, device_bundle, tmp_path, array, told
):
    np.save(tmp_path / "x.npy", array)
    given = ("--input", f"x={tmp_path}/x.npy")
    said = edgeweave("deploy", device_bundle, "--rpc", "127.0.0.1:1", *given)
    assert (said.status, said.out) == (5, "")
    assert said.err.splitlines()[-1].startswith(f"error: {told}")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Missing option '--rpc'"),
        (["--rpc", "rack"], "Invalid value for --rpc: address 'rack': is not HOST:PORT"),
        (["--rpc", "rack:0"], "has no port between 1 and 65535"),
        (["--rpc", "r:1", "--devices", "2"], "--devices needs --key"),
        (["--rpc", "r:1", "--key", "k", "--devices", "0"], "'0' is not a number of devices"),
        (["--rpc", "r:1", "--key", "k", "--devices", "many"], "write 2, or all"),
        (["--rpc", "r:1", "--frames", "0"], "0 is not in the range"),
        (["--rpc", "r:1", "--timeout", "60"], "is not a duration"),
        (["--rpc", "r:1", "--atol", "nan"], "'nan' is not a tolerance"),
        (["--rpc", "r:1", "--input", "x=none.npy"], "none.npy cannot be read"),
        (["--rpc", "r:1", "--secret-file", "none"], "'none' does not exist"),
    ],
)
def test_a_command_line_that_is_wrong_is_told(edgeweave, device_bundle, options, told):
    said = edgeweave("deploy", device_bundle, *options)
    assert (said.status, said.out) == (2, "")
    assert told in " ".join(said.err.split())


def test_a_bundle_that_is_not_there_is_wrong_usage(edgeweave, tmp_path):
    said = edgeweave("deploy", tmp_path / "none.bundle", "--rpc", "127.0.0.1:1")
    assert said.status == 2
    assert "none.bundle' does not exist" in said.err


def test_a_flipped_byte_is_found_before_a_device_is_asked(edgeweave, device_bundle, tmp_path):
    path = Path(shutil.copytree(device_bundle, tmp_path / "b"))
    victim = path / "stages" / "s0-a-cpu" / "stage.so"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    said = edgeweave("deploy", path, "--rpc", "127.0.0.1:1")
    assert (said.status, said.out) == (5, "")
    (message,) = said.err.splitlines()
    assert "stage.so' was changed after packing" in message


def test_a_folder_that_is_no_bundle_is_told(edgeweave, tmp_path):
    said = edgeweave("deploy", tmp_path, "--rpc", "127.0.0.1:1")
    assert (said.status, said.out) == (5, "")
    assert "holds no manifest.json" in said.err


def test_a_stage_of_onnx_runtime_is_refused_with_a_command_that_works(
    edgeweave, typed, device, own_board, tmp_path, model
):
    (tmp_path / "own.toml").write_text(own_board())
    shutil.copy(model, tmp_path / "small.onnx")
    path = tmp_path / "ort.bundle"
    made = typed(
        "compile", "small.onnx", "--board", "own.toml", "--place", "*=a/onnxruntime", "-o", path,
        cwd=tmp_path,
    )  # fmt: skip
    assert made.status == 0, made.err
    said = edgeweave("deploy", path, "--rpc", rpc(device))
    assert (said.status, said.out) == (5, "")
    (message,) = said.err.splitlines()
    assert message.startswith("error: stage s0-a-onnxruntime: runs on onnxruntime, and a device ")
    advised = shlex.split(message.partition("Compile without it: edgeweave ")[2])
    assert advised[:2] == ["compile", "small.onnx"]
    # a board that comes from a file is known by its name alone
    advised[advised.index("own")] = "own.toml"
    made = typed(*advised, cwd=tmp_path)
    assert made.status == 0, made.err
    said = edgeweave("deploy", path, "--rpc", rpc(device), "--verify")
    assert said.status == 0, said.err


def test_verification_needs_the_reference_in_the_bundle(
    edgeweave, compile_stages, device_bundle, tmp_path
):
    shutil.copy(device_bundle / "reference.onnx", tmp_path / "small.onnx")
    path = compile_stages(tmp_path / "b", tmp_path / "small.onnx", reference=False)
    said = edgeweave("deploy", path, "--rpc", "127.0.0.1:1", "--verify")
    assert (said.status, said.out) == (5, "")
    assert "carries no reference model" in said.err


def test_nothing_that_listens_is_one_line_and_no_result(edgeweave, device_bundle):
    said = edgeweave("deploy", device_bundle, "--rpc", "127.0.0.1:1", "-q", "--json")
    assert (said.status, said.out) == (5, "")
    (message,) = said.err.splitlines()
    assert message.startswith("error: device 127.0.0.1:1: cannot be reached (")


def test_no_tracker_and_an_unknown_key_are_told(edgeweave, start_device, tracker, device_bundle):
    said = edgeweave("deploy", device_bundle, "--rpc", "127.0.0.1:1", "--key", "k", "-q")
    assert (said.status, said.out) == (5, "")
    assert said.err.startswith("error: tracker 127.0.0.1:1: cannot be reached")
    start_device(tracker=tracker, key="cli-there")
    said = edgeweave("deploy", device_bundle, "--rpc", rpc(tracker), "--key", "nowhere", "-q")
    assert (said.status, said.out) == (5, "")
    assert "has no device with the key 'nowhere'; it has " in said.err
    assert "cli-there" in said.err


def test_a_busy_device_is_waited_for(edgeweave, device, device_bundle):
    options = ("deploy", device_bundle, "--rpc", rpc(device), "-q")
    session = open_session(Address(device.host, device.port))
    try:
        said = edgeweave(*options, "--wait", "200ms")
        assert (said.status, said.out) == (5, "")
        assert "has been in a session with 127.0.0.1" in said.err
        timer = threading.Timer(1.0, session.close)
        timer.start()
        begin = time.monotonic()
        said = edgeweave(*options, "--wait", "60s")
        assert said.status == 0, said.err
        assert time.monotonic() - begin < 50
        timer.join()
    finally:
        session.close()


def test_a_device_with_a_secret_serves_those_who_know_it(
    edgeweave, start_device, device_bundle, tmp_path
):
    secret, other = tmp_path / "secret", tmp_path / "other"
    secret.write_text("open sesame\n")
    other.write_text("open barley\n")
    device = start_device("--secret-file", str(secret))
    options = ("deploy", device_bundle, "--rpc", rpc(device), "-q")
    said = edgeweave(*options)
    assert (said.status, said.out) == (5, "")
    assert "--secret-file" in said.err
    said = edgeweave(*options, "--secret-file", other)
    assert (said.status, said.out) == (5, "")
    assert "another secret" in said.err
    assert edgeweave(*options, "--secret-file", secret).status == 0


def test_code_for_another_architecture_is_refused(edgeweave, device, edited):
    def edit(manifest, _path):
        for stage in manifest["stages"]:
            stage["options"]["triple"] = "riscv64-linux-gnu"

    said = edgeweave("deploy", edited(edit), "--rpc", rpc(device), "-q")
    assert said.status == 5
    assert "stage s0-a-cpu is built for riscv64-linux-gnu" in said.err.splitlines()[-1]
    assert "upload" not in said.out


def test_a_bundle_of_another_tvm_is_refused(edgeweave, device, edited):
    path = edited(lambda manifest, _path: manifest["created_with"].update({"apache-tvm": "0.1"}))
    said = edgeweave("deploy", path, "--rpc", rpc(device), "-q")
    assert said.status == 5
    assert "the bundle was built with 0.1" in said.err


def test_missing_features_are_refused_unless_the_check_is_skipped(edgeweave, device, edited):
    def edit(manifest, _path):
        for stage in manifest["stages"]:
            stage["options"] |= {"features": ["flying"], "mcpu": "future"}

    path = edited(edit)
    said = edgeweave("deploy", path, "--rpc", rpc(device), "-q", "--json")
    assert said.status == 5
    (found,) = json.loads(said.out)["devices"]
    assert found["fault"]["kind"] == "missing-features"
    assert found["upload"] is None
    assert "lacks flying, which stage s0-a-cpu for future uses" in said.err
    said = edgeweave("deploy", path, "--rpc", rpc(device), "--skip-feature-check", "--verify")
    assert said.status == 0, said.err


def test_a_run_that_takes_too_long_is_told_with_what_helps(
    edgeweave, device, compile_stages, tmp_path
):
    model = tmp_path / "slow.onnx"
    text = (
        '<ir_version: 10, opset_import: ["": 18]> g (float[600,600] x) => (float[600,600] y) '
        "{ a = MatMul(x, x) b = MatMul(a, x) y = MatMul(b, x) }"
    )
    model.write_bytes(parser.parse_model(text).SerializeToString())
    path = compile_stages(tmp_path / "slow.bundle", model)
    said = edgeweave("deploy", path, "--rpc", rpc(device), "--timeout", "1ms", "-q")
    assert said.status == 5
    assert "--timeout" in said.err.splitlines()[-1]
    assert "tried again" not in said.out
    said = edgeweave("deploy", path, "--rpc", rpc(device), "--timeout", "60s", "--frames", "1")
    assert said.status == 0, said.err
