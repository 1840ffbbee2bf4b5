"""The family of faults: a kind of its own for each, and an exit status."""

from __future__ import annotations

import json
import pickle

import pytest

from edgeweave.compiler.cli.errors import ExitStatus, exit_status
from edgeweave.targets.devices import faults
from edgeweave.targets.devices.faults import (
    Damaged,
    DeviceError,
    DeviceFailure,
    DiskFull,
    MissingFeatures,
    NoDeviceLeft,
    SessionDied,
    TooLarge,
    reported,
)

CLASSES = [c for c in vars(faults).values() if isinstance(c, type) and issubclass(c, DeviceError)]


def test_each_has_a_kind_of_its_own() -> None:
    assert len(CLASSES) > 20
    assert len({c.kind for c in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("fault", CLASSES)
def test_each_ends_the_command_line_with_status_5_and_one_line(fault: type[DeviceError]) -> None:
    error = fault("device x", "is like this", "Do that")
    assert exit_status(error) == ExitStatus.DEVICE
    assert str(error) == "device x: is like this. Do that"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (fault, str(error))


def test_what_the_code_itself_did_is_not_tried_again() -> None:
    assert SessionDied("x", "died", "", "SIGKILL").retry
    assert SessionDied("x", "died").retry
    assert not SessionDied("x", "died", "", "SIGILL").retry


def test_the_last_one_keeps_the_faults_of_all() -> None:
    one = DiskFull("device x", "is full")
    assert NoDeviceLeft("key k", "none left", faults={"x": one}).faults == {"x": one}


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("missing-features", MissingFeatures),
        ("disk-full", DiskFull),
        ("too-large", TooLarge),
        ("damaged", Damaged),
        ("bad-request", DeviceFailure),
        ("of a later version", DeviceFailure),
    ],
)
def test_what_a_device_reports(kind: str, fault: type[DeviceError]) -> None:
    reply = json.dumps({"error": {"kind": kind, "reason": "two\nlines \x1b"}})
    error = reported("device x", reply)
    assert (type(error), error.subject, error.reason) == (fault, "device x", "two lines ?")


@pytest.mark.parametrize(
    "reply", ["", "[]", "{}", '{"error": 7}', '{"error": {"kind": []}}', "\ud800"]
)
def test_a_report_that_makes_no_sense_is_a_failure_all_the_same(reply: str) -> None:
    error = reported("device x", reply)
    assert (type(error), error.reason) == (DeviceFailure, "it does not say why")
