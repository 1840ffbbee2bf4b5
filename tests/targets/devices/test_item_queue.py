"""Who takes which item, and what becomes of those that failed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from edgeweave.targets.devices.faults import (
    DeviceError,
    DeviceFailure,
    LinkCut,
    NoDeviceLeft,
    SessionDied,
)
from edgeweave.targets.devices.item_queue import ItemQueue, Job

CUT = LinkCut("device x", "the link was cut")
FAILURE = DeviceFailure("device x", "cannot do that")


def taken(queue: ItemQueue[str, Any], worker: str) -> Job[str]:
    job = queue.take(worker)
    assert job is not None
    return job


def fail(queue: ItemQueue[str, Any], worker: str, job: Job[str], fault: DeviceError) -> bool:
    return queue.fail(worker, f"rack {worker}", job, fault, f"{job.item} failed")


def test_results_are_in_the_items_order() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x", "y"], ["a", "b"], 3)
    first, second = taken(queue, "a"), taken(queue, "b")
    queue.finish("b", second, "Y")
    queue.finish("a", first, "X")
    assert queue.take("a") is None
    assert queue.results("key k") == ["X", "Y"]


def test_what_failed_on_one_goes_to_another() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x", "y"], ["a", "b"], 3)
    job = taken(queue, "a")
    assert fail(queue, "a", job, CUT)
    assert taken(queue, "a").item == "y"
    again = taken(queue, "b")
    assert (again.item, again.told) == ("x", [str(CUT)])


def test_it_is_tried_again_where_it_failed_when_there_is_no_other() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x"], ["a"], 3)
    for _ in range(2):
        assert fail(queue, "a", taken(queue, "a"), CUT)
    queue.finish("a", taken(queue, "a"), "X")
    assert queue.results("key k") == ["X"]


def test_after_so_many_tries_it_has_failed() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x", "y"], ["a", "b"], 2)
    assert fail(queue, "a", taken(queue, "a"), CUT)
    assert fail(queue, "b", taken(queue, "b"), CUT)
    queue.finish("a", taken(queue, "a"), "Y")
    assert queue.results("key k") == ["x failed", "Y"]


def test_an_item_that_costs_two_sessions_has_failed() -> None:
    died = SessionDied("device x", "died", "", "SIGKILL")
    queue: ItemQueue[str, str] = ItemQueue(["x"], ["a"], 9)
    for _ in range(2):
        assert fail(queue, "a", taken(queue, "a"), died)
    assert queue.results("key k") == ["x failed"]


def test_what_a_retry_cannot_help_has_failed_at_once() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x"], ["a", "b"], 3)
    assert fail(queue, "a", taken(queue, "a"), FAILURE)
    assert queue.results("key k") == ["x failed"]


def test_a_worker_that_leaves_gives_its_item_back_even_to_who_failed_it() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x"], ["a", "b"], 3)
    assert fail(queue, "a", taken(queue, "a"), CUT)
    job = taken(queue, "b")
    found: list[Job[str] | None] = []
    waiting = threading.Thread(target=lambda: found.append(queue.take("a")))
    waiting.start()
    queue.leave("b", "rack b", job, CUT)
    waiting.join(30)
    assert found == [job]


def test_a_worker_on_which_everything_fails_is_not_used_any_more() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x", "y", "z", "u"], ["a", "b"], 9)
    assert fail(queue, "a", taken(queue, "a"), CUT)
    assert fail(queue, "a", taken(queue, "a"), CUT)
    assert not fail(queue, "a", taken(queue, "a"), CUT)


def test_when_none_is_left_the_faults_of_all_are_told() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x", "y"], ["a", "b"], 3)
    queue.finish("a", taken(queue, "a"), "X")
    job = taken(queue, "a")
    queue.leave("a", "rack a", job, CUT)
    queue.leave("b", "rack b", taken(queue, "b"), FAILURE)
    expected = r"key k: no device is left, with 1 of 2 items done: .*link was cut; .*cannot do that"
    with pytest.raises(NoDeviceLeft, match=expected) as caught:
        queue.results("key k")
    assert caught.value.faults == {"rack a": CUT, "rack b": FAILURE}


def test_of_one_worker_its_own_fault_is_raised() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x"], ["a"], 3)
    queue.leave("a", "rack a", taken(queue, "a"), CUT)
    with pytest.raises(LinkCut):
        queue.results("device x")


def test_nobody_waits_after_a_stop() -> None:
    queue: ItemQueue[str, str] = ItemQueue(["x"], ["a", "b"], 3)
    taken(queue, "a")
    found: list[Job[str] | None] = []
    waiting = threading.Thread(target=lambda: found.append(queue.take("b")))
    waiting.start()
    queue.stop()
    waiting.join(30)
    assert found == [None]
