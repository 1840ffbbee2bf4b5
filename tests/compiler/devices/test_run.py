"""What is asked of one device: how frames are spread over calls, and how long calls may take."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edgeweave.compiler.devices.run import Call, Work, call_limit, plan_calls, run_work
from edgeweave.compiler.sampling import random_inputs
from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.pipeline import Pipeline
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import DeviceTimeout
from edgeweave.targets.devices.session import open_session
from edgeweave.targets.devices.stages import files_to_send
from edgeweave.targets.devices.upload import Uploader


def make_work(bundle, count, warmup=0, distinct=1, fetched=0, timeout_s=60.0):
    frames = tuple(
        random_inputs(bundle.manifest.inputs, seed, "unit") if bundle else {}
        for seed in range(distinct)
    )
    return Work(bundle, frames, count, warmup, fetched, timeout_s)


@pytest.mark.parametrize("first_s", [1e-9, 1e-3, 0.3, 1.9, 100.0])
def test_every_frame_runs_once_and_every_distinct_one_has_its_turn(first_s):
    for count, warmup, distinct in product(range(1, 30), range(4), range(1, 5)):
        if distinct > count:
            continue
        work = make_work(None, count, warmup, distinct)
        calls = [Call(0, 1, counted=not warmup), *plan_calls(work, first_s)]
        assert sum(call.frames for call in calls if call.counted) == count
        assert sum(call.frames for call in calls if not call.counted) == warmup
        assert {call.frame for call in calls if call.counted} == set(range(distinct))
        assert all(call.frames >= 1 for call in calls)


def test_a_call_takes_about_two_seconds_and_stays_far_from_the_limit():
    work = make_work(None, 1000)
    assert max(call.frames for call in plan_calls(work, 0.01)) == 200
    assert max(call.frames for call in plan_calls(work, 5.0)) == 1
    short = make_work(None, 1000, timeout_s=1.0)
    assert max(call.frames for call in plan_calls(short, 0.01)) == 50


def test_a_call_s_limit_follows_the_first_frame_and_never_passes_the_timeout():
    assert call_limit(10, 0.1, 60.0) == pytest.approx(13.0)
    assert call_limit(100, 1.0, 60.0) == 60.0


@pytest.fixture
def bundle(device_bundle):
    with open_bundle(device_bundle) as opened:
        yield opened


@pytest.fixture
def session(start_device):
    device = start_device()
    with open_session(Address(device.host, device.port)) as opened:
        yield opened


@pytest.mark.parametrize(("count", "warmup"), [(1, 0), (5, 0), (9, 3)])
def test_outputs_are_those_of_each_distinct_frame(session, bundle, count, warmup):
    work = make_work(bundle, count, warmup, distinct=min(count, 4), fetched=min(count, 4))
    told = []
    uploader = Uploader(files_to_send(bundle))
    ran = run_work(session, work, uploader, lambda *step: told.append(step))
    assert len(ran.times.frames) == count == len(ran.times.stages["s0-a-cpu"])
    assert ran.upload.sent_files == 3
    with Pipeline(bundle) as pipeline:
        for frame, outputs in zip(work.frames, ran.outputs, strict=True):
            np.testing.assert_allclose(outputs["y"], pipeline.run(frame)["y"], atol=1e-6)
    phases = [phase for phase, *_ in told]
    assert phases[0] == "opening"
    assert set(phases[1:]) == {"running"}
    assert all(done < total == count + warmup for _, done, total, _ in told[1:])


def test_outputs_stay_there_when_nobody_wants_them(session, bundle):
    ran = run_work(session, make_work(bundle, 2), Uploader(files_to_send(bundle)), lambda *_: None)
    assert ran.outputs == ()


def test_a_timeout_is_not_tried_again_and_says_what_helps(session, bundle):
    work = make_work(bundle, 1, timeout_s=1e-6)
    with pytest.raises(DeviceTimeout, match="--timeout") as caught:
        run_work(session, work, Uploader(files_to_send(bundle)), lambda *_: None)
    assert caught.value.retry is False
