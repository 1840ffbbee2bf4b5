"""A bundle on one device or many: what each did, what came out, and what was tried again."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeweave.compiler.devices.deploy import check_deployable, deploy, summarise
from edgeweave.compiler.devices.run import Work
from edgeweave.compiler.sampling import random_inputs
from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.compare import Tolerance
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import DeviceUnreachable, MissingFeatures, NoSuchKey
from edgeweave.targets.devices.pool import Place
from edgeweave.targets.devices.stages import Times
from edgeweave.targets.devices.suitability import NotForDevices


@pytest.fixture
def bundle(device_bundle):
    with open_bundle(device_bundle) as opened:
        yield opened


def make_work(bundle, count=4, warmup=1, fetched=2):
    frames = tuple(random_inputs(bundle.manifest.inputs, seed, "unit") for seed in range(2))
    return Work(bundle, frames, count, warmup, fetched, 60.0)


def place_of(device, key=None, devices=None):
    return Place(Address(device.host, device.port), key, devices)


def quiet(*_step):
    pass


class Killer:
    """Ends a device's session with a signal when frames begin to run, so many times."""

    def __init__(self, device, number, times=1):
        self._device, self._number, self._left = device, number, times
        self._lock = threading.Lock()

    def __call__(self, name, phase, done, total, what):
        with self._lock:
            if phase == "running" and done and self._left:
                self._left -= 1
                pid = self._device.process.pid
                for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                    os.kill(int(child), self._number)


def test_one_device_runs_and_agrees(bundle, start_device):
    device = start_device("--name", "rack-01")
    (result,) = deploy(make_work(bundle), place_of(device), Tolerance(), quiet)
    assert (result.name, result.result, result.word) == ("rack-01", "verified", "measured")
    assert result.address == Address(device.host, device.port)
    assert result.verification.frames == 2
    assert result.bench.frames == 4
    assert result.bench.warmup == 1
    assert set(result.bench.stages) == {"s0-a-cpu", "s1-b-cpu"}
    assert result.upload.sent_files == 3
    assert (result.fault, result.retried) == (None, ())
    (again,) = deploy(make_work(bundle), place_of(device), None, quiet)
    assert (again.result, again.verification) == ("ran", None)
    assert again.upload.sent_files == 0


def test_all_free_devices_of_a_key_run_at_once(bundle, start_device, tracker):
    devices = [
        start_device("--name", f"rack-{n}", tracker=tracker, key="deploy-all") for n in range(3)
    ]
    results = deploy(make_work(bundle), place_of(tracker, "deploy-all"), Tolerance(), quiet)
    assert sorted(result.name for result in results) == ["rack-0", "rack-1", "rack-2"]
    assert {result.result for result in results} == {"verified"}
    assert {r.address.port for r in results} == {device.port for device in devices}


def test_no_more_devices_are_used_than_asked_for(bundle, start_device, tracker):
    for n in range(2):
        start_device("--name", f"rack-{n}", tracker=tracker, key="deploy-one")
    place = place_of(tracker, "deploy-one", devices=1)
    assert len(deploy(make_work(bundle), place, None, quiet)) == 1


def test_a_key_that_nobody_has_is_told_with_those_there_are(bundle, start_device, tracker):
    start_device(tracker=tracker, key="deploy-there")
    with pytest.raises(NoSuchKey, match="deploy-there"):
        deploy(make_work(bundle), place_of(tracker, "deploy-nowhere"), None, quiet)


def test_what_differs_is_found(bundle, start_device):
    """Against the outputs of a model with other weights."""
    import onnx

    device = start_device()
    reference = onnx.load(bundle.reference)
    (weight,) = reference.graph.initializer
    weight.raw_data = (onnx.numpy_helper.to_array(weight) * 2).tobytes()
    other = Path(device.log).with_name("other.onnx")
    onnx.save(reference, other)

    class Other(type(bundle)):
        reference = other

    wrong = Other(bundle.path, bundle.root, bundle.manifest, None)
    (result,) = deploy(make_work(wrong), place_of(device), Tolerance(), quiet)
    assert result.result == "differs"
    assert result.verification.outputs[0].max_abs > 1e-3
    assert len(result.ran.times.frames) == 4


def test_a_session_that_was_killed_is_tried_again(bundle, start_device):
    device = start_device()
    notes = []
    (result,) = deploy(
        make_work(bundle), place_of(device), Tolerance(), Killer(device, signal.SIGKILL),
        notes.append,
    )  # fmt: skip
    assert result.result == "verified"
    (told,) = result.retried
    assert "SIGKILL" in told
    assert "SIGKILL" in notes[0]
    assert result.upload.sent_files == 3
    assert result.upload.sent_bytes == result.upload.nbytes


@pytest.mark.parametrize("number", [signal.SIGILL, signal.SIGSEGV])
def test_a_crash_of_the_code_is_named_and_not_tried_again(bundle, start_device, number):
    device = start_device()
    killer = Killer(device, number, times=9)
    (result,) = deploy(make_work(bundle), place_of(device), Tolerance(), killer)
    assert (result.result, result.retried) == ("failed", ())
    assert result.fault.kind == "session-died"
    assert number.name in str(result.fault)
    assert result.ran is None
    assert result.upload.sent_files == 3
    (after,) = deploy(make_work(bundle), place_of(device), Tolerance(), quiet)
    assert after.result == "verified"


def test_the_others_go_on_when_one_device_fails(bundle, start_device, tracker):
    devices = [
        start_device("--name", f"rack-{n}", tracker=tracker, key="deploy-fail") for n in range(2)
    ]
    killer = Killer(devices[0], signal.SIGILL, times=9)

    def report(name, *step):
        if name == "rack-0":
            killer(name, *step)

    results = deploy(make_work(bundle), place_of(tracker, "deploy-fail"), Tolerance(), report)
    assert {result.name: result.result for result in results} == {
        "rack-0": "failed", "rack-1": "verified",
    }  # fmt: skip


def test_a_device_that_is_not_there_is_in_its_result(bundle, start_device):
    device = start_device()
    device.process.terminate()
    device.process.wait(20)
    (result,) = deploy(make_work(bundle), place_of(device), None, quiet)
    assert isinstance(result.fault, DeviceUnreachable)
    assert (result.identity, result.word, result.upload) == (None, None, None)
    assert len(result.retried) == 2


def with_features(bundle, *features):
    stages = tuple(
        replace(s, options={**s.options, "features": list(features), "mcpu": "future"})
        for s in bundle.manifest.stages
    )
    bundle.manifest = replace(bundle.manifest, stages=stages)
    return bundle


def test_missing_features_are_found_before_anything_is_sent(bundle, start_device):
    device = start_device()
    work = make_work(with_features(bundle, "flying"))
    (result,) = deploy(work, place_of(device), None, quiet)
    assert isinstance(result.fault, MissingFeatures)
    assert "lacks flying, which stage s0-a-cpu for future uses" in str(result.fault)
    assert (result.upload, result.retried) == (None, ())


def test_the_device_finds_missing_features_by_itself(bundle, start_device, monkeypatch):
    monkeypatch.setattr("edgeweave.compiler.devices.deploy.check_device", lambda *_, **__: [])
    device = start_device()
    (result,) = deploy(make_work(with_features(bundle, "flying")), place_of(device), None, quiet)
    assert isinstance(result.fault, MissingFeatures)
    assert "s0-a-cpu" in str(result.fault)
    assert "flying" in str(result.fault)
    assert result.upload.sent_files == 3


def test_the_check_of_features_can_be_left_out(bundle, start_device):
    device = start_device()
    work = replace(make_work(with_features(bundle, "flying")), check_features=False)
    (result,) = deploy(work, place_of(device), Tolerance(), quiet)
    assert result.result == "verified"


def test_a_bundle_is_checked_before_any_device_is_asked(bundle):
    check_deployable(bundle, verify=True)
    bundle.manifest = replace(bundle.manifest, reference=None)
    check_deployable(bundle, verify=False)
    with pytest.raises(RuntimeFault, match="carries no reference model"):
        check_deployable(bundle, verify=True)


def test_a_bundle_with_a_stage_that_no_device_runs_is_refused(bundle):
    first, second = bundle.manifest.stages
    foreign = replace(second, kind="onnxruntime", backend="onnxruntime")
    bundle.manifest = replace(bundle.manifest, stages=(first, foreign))
    with pytest.raises(NotForDevices, match="stage s1-b-cpu: runs on onnxruntime, and"):
        check_deployable(bundle, verify=False)


def test_percentiles_and_misses_are_of_the_counted_frames():
    times = Times((0.01, 0.03, 0.02, 0.04), {"s": (0.01, 0.02, 0.01, 0.03)})
    bench = summarise(times, "emulated", 2, 0.025)
    assert (bench.word, bench.frames, bench.warmup, bench.misses) == ("emulated", 4, 2, 2)
    assert (bench.latency.p50_s, bench.latency.max_s) == (0.02, 0.04)
    assert bench.stages["s"].p50_s == 0.01
    assert summarise(times, "measured", 0, None).misses is None


def test_the_first_distinct_frame_s_outputs_can_be_had_alone(bundle, start_device):
    work = make_work(bundle, fetched=1)
    (result,) = deploy(work, place_of(start_device()), None, quiet)
    (outputs,) = result.ran.outputs
    np.testing.assert_allclose(outputs["y"].sum(axis=1), 1, atol=1e-5)
