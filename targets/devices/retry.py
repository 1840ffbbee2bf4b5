"""Trying again what may succeed a moment later: a few times, with longer and longer pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from edgeweave.targets.devices.faults import (
    DeviceBusy,
    DeviceError,
    DeviceFrozen,
    SessionDied,
)

_T = TypeVar("_T")
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0

# (a note in one line), from any thread
Say: TypeAlias = Callable[[str], None]


def retry(
    action: Callable[[], _T],
    attempts: int = 4,
    say: Say | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> _T:
    """What the action returns, after as many attempts as it takes and ``attempts`` at most.

    A fault that a retry cannot help is raised at once, and the last one when all attempts failed.
    So is DeviceBusy, which was waited for already, and the second death of a session or the second
    time that a device does not answer: what needs more memory than there is needs it every time.
    """
    pause_s, ends = FIRST_PAUSE_S, 0
    for left in reversed(range(attempts)):
        try:
            return action()
        except DeviceError as fault:
            ends += isinstance(fault, SessionDied | DeviceFrozen)
            if not fault.retry or not left or isinstance(fault, DeviceBusy) or ends > 1:
                raise
            if say is not None:
                say(f"{fault.subject}: {fault.reason}; trying again in {pause_s:g} s")
        pause(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    raise ValueError(f"{attempts} attempts are none")
