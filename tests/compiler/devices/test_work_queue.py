import threading

import pytest

from edgeweave.compiler.devices.work_queue import WorkQueue


def test_items_are_handed_out_in_order_and_then_nothing():
    queue = WorkQueue("ab")
    seen = []
    for _ in range(3):
        with queue.take() as item:
            seen.append(item)
    assert seen == ["a", "b", None]
    assert queue.left == ()


def test_an_item_that_failed_is_handed_out_again():
    queue = WorkQueue("ab")
    with pytest.raises(RuntimeError), queue.take():
        raise RuntimeError
    assert queue.left == ("a", "b")
    with queue.take() as item:
        assert item == "a"


def test_one_who_finds_nothing_waits_for_what_others_may_give_back():
    queue = WorkQueue(["only"])
    got = []
    taken = threading.Event()

    def wait_for_it():
        taken.wait(10)
        with queue.take() as item:
            got.append(item)

    other = threading.Thread(target=wait_for_it)
    other.start()

    def fail():
        with queue.take():
            taken.set()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    other.join(10)
    assert got == ["only"]


def test_those_who_wait_end_when_the_last_item_is_done():
    queue = WorkQueue(["only"])
    got = []
    with queue.take():
        other = threading.Thread(target=lambda: got.append(queue.take().__enter__()))
        other.start()
    other.join(10)
    assert got == [None]


def test_after_a_stop_nothing_is_handed_out():
    queue = WorkQueue("ab")
    with queue.take():
        queue.stop()
    with queue.take() as item:
        assert item is None
    assert queue.left == ("b",)
