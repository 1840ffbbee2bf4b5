"""Timing runners in turn, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeweave.runtime.runners import Runner

REPEATS = 7
_TIME_SHARE_S = 0.4  # seconds spent on one runner's REPEATS calls; a slow kernel is timed once


@dataclass(frozen=True)
class Timing:
    """Median and interquartile range in seconds of whole calls."""

    seconds: float
    spread_s: float
    repeats: int


def time_runners(
    runners: Sequence[Runner],
    inputs: list[Any],
    cores: tuple[int, ...],
    repeats: int = REPEATS,
    least_s: float = 0.0,
) -> list[Timing]:
    """Time whole calls of each runner on the same inputs, one after the other in every round.

    Each runs once untimed. A slow one is timed fewer times, at least once; a fast one more often,
    until it has run for ``least_s``. On one core a call
    counts the seconds that the core worked for it: what the system ran there meanwhile is left
    out, for a plan has the core to itself. On several cores it counts the seconds that passed.
    """
    clock = time.thread_time if len(cores) == 1 else time.perf_counter
    limit_s = _TIME_SHARE_S * repeats / REPEATS
    rounds = []
    for runner in runners:
        begin = time.perf_counter()
        runner.run(inputs)
        call_s = max(time.perf_counter() - begin, 1e-9)
        rounds.append(max(1, int(least_s / call_s), min(repeats, int(limit_s / call_s))))
    seconds: list[list[float]] = [[] for _ in runners]
    for done in range(max(rounds, default=0)):
        for runner, count, taken in zip(runners, rounds, seconds, strict=True):
            if done < count:
                taken.append(_call(runner, inputs, clock))
    return [_timing(taken) for taken in seconds]


def _call(runner: Runner, inputs: list[Any], clock: Callable[[], float]) -> float:
    begin = clock()
    runner.run(inputs)
    return clock() - begin


def _timing(seconds: list[float]) -> Timing:
    quarters = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else [0.0, 0.0, 0.0]
    return Timing(statistics.median(seconds), quarters[2] - quarters[0], len(seconds))
