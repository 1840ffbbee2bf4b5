"""Why a session ended before its time: the device is asked, and the answer becomes a fault."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceError,
    DeviceFrozen,
    DeviceTimeout,
    DeviceUnreachable,
    LinkCut,
    SessionDied,
)
from edgeweave.targets.devices.identity import End, Identity, hello

_PATIENCE_S = 3.0  # a process that ends is not noticed at once
_FIRST_PAUSE_S = 0.05
_CAUSES = {
    "SIGILL": "the code uses instructions that this CPU lacks",
    "SIGSEGV": "the code touched memory that is not its own",
    "SIGBUS": "the code touched memory that is not there",
    "SIGFPE": "the code divided whole numbers by zero",
    "SIGABRT": "the code gave up by itself",
    "SIGKILL": "it was killed there, by hand or for lack of memory",
    "SIGTERM": "it was ended there by hand",
}
_ADVICE = {
    "SIGILL": "Compile for a board file whose mcpu and mattr are this device's",
    "SIGKILL": "Check the memory on the device, and try again",
    "SIGTERM": "Try again",
}
_REPORT = "Report it with the model, and with the device's log"


@dataclass(frozen=True)
class Broken:
    """A session that ended during a call.

    ``match`` is the session's key. ``late`` says that we ended it, since ``call`` had taken
    ``limit_s`` seconds; otherwise the connection broke, and ``said`` is what TVM made of that.
    """

    subject: str
    address: Address
    match: str
    call: str
    limit_s: float
    late: bool
    said: str


def explain(broken: Broken, timeout_s: float) -> DeviceError:
    """The fault that names what happened; asks the device, each time for ``timeout_s`` at most."""
    give_up = time.monotonic() + _PATIENCE_S
    pause = _FIRST_PAUSE_S
    while True:
        try:
            identity = hello(broken.address, timeout_s)
        except DeviceError as fault:
            return _silent(broken, fault)
        end = identity.end_of(broken.match)
        if end is not None and not (broken.late and end.end == "closed"):
            return _ended(broken, end)
        if broken.late:
            return _late(broken, identity)
        if time.monotonic() > give_up:
            return _cut(broken)
        time.sleep(pause)
        pause *= 2


def _silent(broken: Broken, fault: DeviceError) -> DeviceError:
    """The device itself does not answer as it should any more."""
    if isinstance(fault, DeviceFrozen):
        reason = f"{_what(broken)}, and the device does not answer any more"
        return DeviceFrozen(broken.subject, reason, fault.next_step)
    if isinstance(fault, DeviceUnreachable):
        reason = f"{_what(broken)}, and the device {fault.reason}"
        return DeviceUnreachable(broken.subject, reason, fault.next_step)
    return LinkCut(broken.subject, f"{_what(broken)}; then it {fault.reason}", "Try again")


def _what(broken: Broken) -> str:
    if broken.late:
        return f"{broken.call} was not done after {broken.limit_s:g} s"
    return f"the connection broke during {broken.call}"


def _ended(broken: Broken, end: End) -> DeviceError:
    after = f"during {broken.call}, {end.seconds:.1f} s after it began"
    if end.end == "signal":
        cause = _CAUSES.get(end.signal, "its log may say why")
        reason = f"the session was ended by {end.signal} {after}: {cause}"
        return SessionDied(broken.subject, reason, _ADVICE.get(end.signal, _REPORT), end.signal)
    if end.end == "timeout":
        return DeviceTimeout(
            broken.subject,
            f"the session reached its time limit {after}, and the device ended it",
            "Give it more time, or start edgeweave-device with a larger --max-session",
        )
    if end.end == "exit":
        reason = f"the session ended with status {end.status} {after}"
        return SessionDied(broken.subject, reason, "See the device's log")
    return _cut(broken)


def _late(broken: Broken, identity: Identity) -> DeviceTimeout:
    still = "; the device still runs it" if identity.busy is not None else ""
    return DeviceTimeout(broken.subject, f"{_what(broken)}{still}", "Allow more time for it")


def _cut(broken: Broken) -> LinkCut:
    said = f" ({broken.said})" if broken.said else ""
    reason = f"the link was cut during {broken.call}{said}; the device itself still answers"
    return LinkCut(broken.subject, reason, "Check the network, and try again")
