"""``edgeweave deploy``: what it prints and writes, and its exit status when devices fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest


def rpc(place):
    return f"{place.host}:{place.port}"


@pytest.fixture
def device(start_device):
    return start_device("--name", "rack-01")


def test_a_bundle_is_benched_as_a_user_types_it(typed, device, device_bundle):
    said = typed(
        "deploy", device_bundle, "--rpc", rpc(device), "--bench", "--frames", "12", "--verify"
    )
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == f"small.onnx on own, from {device_bundle}"
    assert lines[1] == "inputs: random, seed 0, 4 frames over and over"
    assert lines[3].startswith(f"device rack-01 at {rpc(device)}: ")
    assert re.search(r"upload: 3 of 3 files sent, 0 there already; (.*) of \1 sent", said.out)
    assert "governor: " in said.out
    assert (
        "latency of frames that run alone on the device, measured (12 frames, 3 before; p99 and "
        "above of 12 frames are their maximum)" in said.out
    )
    for row in ("frame", "s0-a-cpu", "s1-b-cpu"):
        (line,) = (line for line in lines if line.strip().startswith(f"{row} "))
        assert line.split()[1] == "measured"
    assert "p50, measured / predicted" in said.out
    assert "no budget was set" in said.out
    assert "stages ran one after another on the device, so there is no interval" in said.out
    assert "verification against ONNX Runtime, measured: passed (4 distinct frames" in said.out
    assert "sending: rack-01: " in said.err
    assert "running 1 of 15: rack-01: the first frame" in said.err


def test_without_bench_few_frames_run_and_one_line_tells_of_them(edgeweave, device, device_bundle):
    said = edgeweave("deploy", device_bundle, "--rpc", rpc(device), "-q")
    assert (said.status, said.err) == (0, "")
    assert re.search(r"latency, measured: \S+ \S+ \(median of 4 frames, 0 before\)", said.out)
    assert "p99" not in said.out
    assert "verification" not in said.out


def test_json_holds_everything(edgeweave, device, device_bundle):
    said = edgeweave(
        "deploy", device_bundle, "--rpc", rpc(device), "--bench", "--frames", "6", "--warmup", "0",
        "--verify", "--json",
    )  # fmt: skip
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    assert (shown["model"], shown["board"], shown["tracker"]) == ("small.onnx", "own", None)
    assert shown["interval_s"] is None
    (found,) = shown["devices"]
    assert (found["name"], found["address"]) == ("rack-01", rpc(device))
    assert (found["result"], found["word"], found["fault"]) == ("verified", "measured", None)
    assert found["identity"]["emulated"] == ""
    assert "match" not in found["identity"]
    assert found["upload"]["files"] == 3 == found["upload"]["sent_files"]
    assert found["upload"]["bytes"] == found["upload"]["sent_bytes"] > 0
    assert len(found["before"]["cores"]) == len(found["identity"]["cpus"])
    measured = found["measurement"]
    assert (measured["word"], measured["frames"], measured["warmup"]) == ("measured", 6, 0)
    latency = measured["latency"]
    keys = ("p50_s", "p90_s", "p99_s", "p999_s", "max_s")
    assert all(latency[a] <= latency[b] for a, b in pairwise(keys))
    assert set(measured["stages"]) == {stage["name"] for stage in shown["stages"]}
    ratio = latency["p50_s"] / shown["predicted"]["latency_s"]
    assert found["ratio"] == pytest.approx(ratio)
    assert found["verification"]["passed"]
    assert found["verification"]["frames"] == 4


def test_only_what_changed_is_sent(edgeweave, device, device_bundle, compile_stages, tmp_path):
    options = ("--rpc", rpc(device), "--json")
    edgeweave("deploy", device_bundle, *options)
    again = json.loads(edgeweave("deploy", device_bundle, *options).out)["devices"][0]["upload"]
    assert (again["files"], again["sent_files"], again["sent_bytes"]) == (3, 0, 0)
    model = onnx.load(device_bundle / "reference.onnx")
    weight = model.graph.initializer[0]
    weight.raw_data = (onnx.numpy_helper.to_array(weight) + 1).tobytes()
    onnx.save(model, tmp_path / "small.onnx")
    other = compile_stages(tmp_path / "b", tmp_path / "small.onnx", place=("r000*=a", "r001*=b"))
    upload = json.loads(edgeweave("deploy", other, *options).out)["devices"][0]["upload"]
    assert (upload["files"], upload["present_files"]) == (3, 2)
    assert (upload["sent_files"], upload["sent_bytes"]) == (1, 256)


def test_frames_over_the_budget_are_counted(edgeweave, device, edited):
    path = edited(lambda manifest, _path: manifest.update(budget_s=1e-9))
    said = edgeweave("deploy", path, "--rpc", rpc(device), "--bench", "--frames", "3")
    assert said.status == 0, said.err
    assert "over the budget of 0.00100 us, measured: 3 of 3 frames" in said.out


def test_every_free_device_of_a_key_is_used(edgeweave, start_device, tracker, device_bundle):
    for name in ("rack-01", "rack-02"):
        start_device("--name", name, tracker=tracker, key="cli-two")
    options = ("--rpc", rpc(tracker), "--key", "cli-two", "--verify")
    said = edgeweave("deploy", device_bundle, *options)
    assert said.status == 0, said.err
    rows = [line.split() for line in said.out.splitlines() if line.startswith("  rack-0")]
    assert sorted(row[0] for row in rows) == ["rack-01", "rack-02"]
    assert all(row[2] == "verified" and row[-1] == "measured" for row in rows)
    assert said.out.splitlines()[-1] == "verified: 2 of 2 devices"
    said = edgeweave("deploy", device_bundle, *options, "--devices", "1", "--json")
    shown = json.loads(said.out)
    assert len(shown["devices"]) == 1
    assert shown["tracker"] == {"address": rpc(tracker), "key": "cli-two"}


def end_sessions(device, number, stop):
    """Send a signal to each session of a device that has been sent something."""
    pid = device.process.pid
    store = device.log.parent / "state" / "store"
    while not stop.wait(0.001):
        if store.is_dir() and any(store.iterdir()):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), number)


@pytest.fixture
def crash():
    """Make every session of a device end with a signal."""
    stop = threading.Event()
    threads = []

    def start(device, number=signal.SIGILL):
        threads.append(threading.Thread(target=end_sessions, args=(device, number, stop)))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(20)


def test_the_others_results_are_printed_when_one_fails(
    edgeweave, start_device, tracker, device_bundle, crash
):
    bad, _good = (
        start_device("--name", name, tracker=tracker, key="cli-bad") for name in ("bad", "good")
    )
    crash(bad)
    said = edgeweave("deploy", device_bundle, "--rpc", rpc(tracker), "--key", "cli-bad")
    assert said.status == 5
    assert re.search(r"  FAILED: device bad \(\S+\): .*SIGILL", said.out)
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.startswith("  ")}
    assert rows["good"].split()[2] == "ran"
    assert rows["bad"].split()[2] == "failed"
    assert said.out.splitlines()[-1].startswith(("failed: 1 of 2", "ran: 1 of 2"))
    (error,) = (line for line in said.err.splitlines() if line.startswith("error:"))
    assert error.startswith("error: 1 of 2 devices: failed (device bad")


def test_a_crash_on_the_only_device_is_one_error(edgeweave, device, device_bundle, crash):
    crash(device)
    said = edgeweave("deploy", device_bundle, "--rpc", rpc(device), "--json")
    assert said.status == 5
    last = said.err.splitlines()[-1]
    assert last.startswith("error: device rack-01")
    assert "SIGILL" in last
    (found,) = json.loads(said.out)["devices"]
    assert (found["result"], found["fault"]["kind"]) == ("failed", "session-died")
    assert (found["name"], found["measurement"]) == ("rack-01", None)


def test_given_inputs_run_and_their_outputs_are_written(edgeweave, device, device_bundle, tmp_path):
    x = np.random.default_rng(5).standard_normal((2, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    said = edgeweave(
        "deploy", device_bundle, "--rpc", rpc(device), "--input", f"x={tmp_path}/x.npy",
        "--verify", "--outputs", tmp_path / "y.npz",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert "inputs: the given ones" in said.out
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs["y"].sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_outputs_that_cannot_be_written_are_told_after_the_result(
    edgeweave, device, device_bundle, tmp_path
):
    path = tmp_path / "none" / "y.npz"
    said = edgeweave("deploy", device_bundle, "--rpc", rpc(device), "--outputs", path)
    assert said.status == 5
    assert "latency, measured" in said.out
    assert "y.npz: cannot be written (No such file or directory)" in said.err


def test_values_that_are_not_finite_are_noted_and_still_run(
    edgeweave, device, device_bundle, tmp_path
):
    x = np.full((2, 8), np.nan, np.float32)
    np.save(tmp_path / "x.npy", x)
    given = ("--input", f"x={tmp_path}/x.npy")
    said = edgeweave("deploy", device_bundle, "--rpc", rpc(device), *given, "--verify", "--json")
    assert "note: input 'x' holds values that are not finite" in said.err
    assert said.status in (0, 7), said.err
    (found,) = json.loads(said.out, parse_constant=pytest.fail)["devices"]
    assert found["result"] == {0: "verified", 7: "differs"}[said.status]


def test_outputs_that_differ_have_their_own_status(edgeweave, device, edited):
    """Through the real comparison, with a reference whose weights are other ones."""

    def edit(manifest, path):
        reference = onnx.load(path / "reference.onnx")
        (weight,) = reference.graph.initializer
        weight.raw_data = (onnx.numpy_helper.to_array(weight) * 2).tobytes()
        data = reference.SerializeToString()
        (path / "reference.onnx").write_bytes(data)
        (entry,) = (file for file in manifest["files"] if file["path"] == "reference.onnx")
        entry |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    path = edited(edit)
    options = ("deploy", path, "--rpc", rpc(device), "--verify")
    said = edgeweave(*options)
    assert said.status == 7
    assert "verification against ONNX Runtime, measured: FAILED" in said.out
    last = said.err.splitlines()[-1]
    assert last.startswith(f"error: {path}: 1 of 1 outputs of rack-01 differ from ONNX Runtime's")
    assert edgeweave(*options, "--atol", "10").status == 0


def test_no_figure_stands_without_its_word(edgeweave, device, device_bundle):
    """Every line that holds a time says what it is."""
    said = edgeweave("deploy", device_bundle, "--rpc", rpc(device), "--bench", "--verify")
    timed = [line for line in said.out.splitlines() if re.search(r"\d (us|ms|s)\b", line)]
    assert timed
    assert all("measured" in line for line in timed)
    assert "emulated" not in said.out
