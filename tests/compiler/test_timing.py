import time

import pytest

from edgeweave.compiler.timing import time_runners


class Waiting:
    """A runner that lets the core do other things for a while, and notes its calls."""

    def __init__(self, seconds, log=None, name=""):
        self._seconds, self._log, self._name = seconds, log, name

    def run(self, inputs):
        if self._log is not None:
            self._log.append(self._name)
        time.sleep(self._seconds)
        return inputs


def test_on_one_core_time_that_the_core_works_for_others_is_left_out():
    (timing,) = time_runners([Waiting(0.02)], [], (0,), repeats=3)
    assert 0 < timing.seconds < 0.01
    assert timing.repeats == 3


@pytest.mark.parametrize("cores", [(), (0, 1)])
def test_on_several_cores_the_time_that_passes_counts(cores):
    (timing,) = time_runners([Waiting(0.02)], [], cores, repeats=3)
    assert timing.seconds >= 0.02


def test_runners_take_turns_after_one_untimed_call_each():
    log = []
    time_runners([Waiting(0, log, "a"), Waiting(0, log, "b")], [], (), repeats=3)
    assert "".join(log) == "abababab"


def test_a_slow_runner_is_timed_less_often_than_a_fast_one():
    slow, fast = time_runners([Waiting(0.15), Waiting(0)], [], (), repeats=7)
    assert (slow.repeats, fast.repeats) == (2, 7)
    assert fast.spread_s >= 0


def test_a_fast_runner_is_timed_until_it_has_run_for_long_enough():
    (timing,) = time_runners([Waiting(0.005)], [], (), repeats=3, least_s=0.1)
    assert 4 <= timing.repeats <= 20


def test_nothing_to_time_gives_no_times():
    assert time_runners([], [], ()) == []
