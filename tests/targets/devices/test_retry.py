"""Trying again: what may help, not for ever, and not at once."""

from __future__ import annotations

import pytest

from edgeweave.targets.devices.faults import (
    DeviceBusy,
    DeviceError,
    DeviceFailure,
    DeviceUnreachable,
    SessionDied,
)
from edgeweave.targets.devices.retry import retry


class Action:
    """Fails so many times and then answers."""

    def __init__(self, failures: int) -> None:
        self.calls = 0
        self.failures = failures

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise DeviceUnreachable("device x", f"is away for the {self.calls}. time")
        return self.calls


def test_pauses_grow_and_each_is_told() -> None:
    pauses: list[float] = []
    notes: list[str] = []
    assert retry(Action(2), 4, notes.append, pauses.append) == 3
    assert pauses == [0.25, 0.5]
    assert notes[0] == "device x: is away for the 1. time; trying again in 0.25 s"


def test_the_last_fault_is_raised_when_all_attempts_failed() -> None:
    action, pauses = Action(99), list[float]()
    with pytest.raises(DeviceUnreachable, match=r"for the 8\. time"):
        retry(action, 8, pause=pauses.append)
    assert action.calls == 8
    assert max(pauses) == 5


def test_what_a_retry_cannot_help_is_raised_at_once() -> None:
    calls: list[int] = []

    def refuse() -> None:
        calls.append(1)
        raise DeviceFailure("device x", "will not")

    with pytest.raises(DeviceFailure):
        retry(refuse, 4, pause=lambda _: pytest.fail("it paused"))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        (DeviceBusy("device x", "is busy"), 1),  # it was waited for already
        (SessionDied("device x", "died", "", "SIGKILL"), 2),
    ],
)
def test_some_faults_are_tried_again_less(fault: DeviceError, attempts: int) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise fault

    with pytest.raises(type(fault)):
        retry(fail, 9, pause=lambda _: None)
    assert len(calls) == attempts


def test_no_attempts_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 attempts"):
        retry(Action(0), 0)
