"""Hand-overs and copies between cores, as a device measures them."""

import json
import os

import pytest

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.session import Options, open_session
from edgeweave.targets.kit.launch import native_launch, running

CORES = sorted(os.sched_getaffinity(0))
GOOD = {"a": CORES[:1], "b": CORES[-1:], "bytes": 4096, "repeats": 3}


@pytest.fixture(scope="module")
def session(native_kit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    launch = native_launch(native_kit, ["--port", "0", "--state", str(folder / "state")])
    with (
        running(launch, folder / "log") as device,
        open_session(Address(device.host, device.port), Options()) as session,
    ):
        yield session


def measure(session, request):
    sent = request if isinstance(request, str) else json.dumps(request)
    return json.loads(session.call("edgeweave.device.measure_link", sent, limit_s=60.0))


@pytest.mark.parametrize(
    ("a", "b"),
    [(CORES[:1], CORES[-1:]), (CORES, CORES), (CORES[:1], CORES[:1]), ([], [])],
    ids=["two cores", "all cores", "one core", "not pinned"],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_link_is_measured_as_often_as_asked_for(session, a, b, size):
    found = measure(session, {"a": a, "b": b, "bytes": size, "repeats": 7})
    assert found["notes"] == []
    assert len(found["latency_us"]) == len(found["copy_s"]) == 7
    assert all(0 < latency < 60e6 for latency in found["latency_us"])
    assert all(0 <= seconds < 60 for seconds in found["copy_s"])


def test_copying_more_takes_longer(session):
    """By far more than the noise of a busy machine: 32 MiB against one byte."""
    fastest = [
        min(measure(session, GOOD | {"bytes": size, "repeats": 5})["copy_s"])
        for size in (1, 32 << 20)
    ]
    assert fastest[1] > 100 * fastest[0]


def test_cores_that_do_not_exist_are_told(session):
    found = measure(session, GOOD | {"b": [800, 801]})
    assert found["notes"] == ["cores 800-801 do not exist here; not pinned"]
    assert len(found["latency_us"]) == 3


def test_the_threads_of_a_measurement_end_with_it(session):
    for _ in range(20):
        assert "error" not in measure(session, GOOD)


@pytest.mark.parametrize(
    "request_",
    [
        "no JSON",
        "{}",
        *(GOOD | {key: None} for key in GOOD),
        GOOD | {"a": ["0"]},
        GOOD | {"a": [-1]},
        GOOD | {"a": [1 << 40]},
        GOOD | {"b": 0},
        GOOD | {"bytes": 0},
        GOOD | {"bytes": -1},
        GOOD | {"bytes": 1 << 40},
        GOOD | {"bytes": "4096"},
        GOOD | {"repeats": 0},
        GOOD | {"repeats": 10_001},
        GOOD | {"repeats": 1.5},
    ],
    ids=str,
)
def test_a_bad_request_is_answered(session, request_):
    found = measure(session, request_)["error"]
    assert found["kind"] == "bad-request"
    assert "\n" not in found["reason"]
    assert len(measure(session, GOOD)["copy_s"]) == 3
