"""Getting a session from a device: who it is, whether it fits, and the key that opens it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from edgeweave.runtime.machine import triple_architecture
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceBusy,
    DeviceFrozen,
    DeviceUnreachable,
    LinkCut,
    NotADevice,
    SecretRefused,
    WrongArchitecture,
)
from edgeweave.targets.devices.identity import Busy, Identity, busy_text, check_versions, hello
from edgeweave.targets.devices.secret import proof
from edgeweave.targets.devices.tracker import Grant
from edgeweave.targets.devices.wire import (
    LONGEST_GREETING,
    RPC_BUSY,
    RPC_MAGIC,
    RPC_UNKNOWN,
    Deadline,
    Link,
    dial,
    message,
    number,
    reason_of,
)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_EXACT = ("apache-tvm", "apache-tvm-ffi")  # both sides of TVM's RPC must be of one release


@dataclass(frozen=True)
class Options:
    """How sessions are opened.

    ``secret`` is what the device may ask for. After ``limit_s`` seconds the device ends the
    session. Each step of connecting has ``timeout_s``. A device that is busy is waited for,
    ``wait_s`` at most. ``triple`` is what the code is built for, when that is known already.
    """

    secret: bytes | None = None
    limit_s: float = 3600.0
    timeout_s: float = 10.0
    wait_s: float = 0.0
    triple: str | None = None


@dataclass(frozen=True)
class Accepted:
    """A connection on which a device has agreed to a session.

    Of its answer only the first number was read; the rest has arrived.
    """

    link: Link
    identity: Identity
    match: str


def greet(place: Grant | Address, options: Options) -> Accepted:
    """Ask the device who it is, check that, and open a session; waits while it is busy."""
    address = place.address if isinstance(place, Grant) else place
    granted = place.match if isinstance(place, Grant) else None
    deadline, pause = Deadline(options.wait_s), _FIRST_PAUSE_S
    while True:
        identity = hello(address, options.timeout_s)
        subject = f"device {identity.name} ({address})"
        check_versions(identity, _versions_here(), subject)
        _check_architecture(identity, options.triple, subject)
        match = granted or identity.match
        accepted: Link | None = None
        if identity.busy is None:
            accepted, code = _open(address, subject, match, options)
            if accepted is not None:
                return Accepted(accepted, identity, match)
            if code == RPC_UNKNOWN and granted is None:
                raise _refused(subject, options.secret)
            if code == RPC_UNKNOWN:
                granted = None  # an old grant: the device is asked for a new key
                continue
        if deadline.passed:
            raise _busy(subject, identity.busy, options.wait_s)
        time.sleep(min(pause, deadline.left_s))
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _open(address: Address, subject: str, match: str, options: Options) -> tuple[Link | None, int]:
    """The connection of a session, or None and the device's answer."""
    deadline = Deadline(options.timeout_s)
    words = f"client:{match} -timeout={max(1, math.ceil(options.limit_s))}"
    if options.secret is not None:
        words += f" -auth={proof(options.secret, match)}"
    greeting = words.encode()
    if len(greeting) > LONGEST_GREETING:
        raise NotADevice(subject, "has a key that is too long", "Start it with a shorter --key")
    try:
        link = dial(address, deadline)
    except OSError as error:
        reason = f"cannot be reached any more ({reason_of(error)})"
        raise DeviceUnreachable(
            subject, reason, "Check that edgeweave-device runs there"
        ) from error
    try:
        link.send(number(RPC_MAGIC) + message(greeting), deadline)
        code = link.receive_int(deadline)
        if code == RPC_MAGIC:
            _check_rest(link, subject, deadline)
            return link, code
    except TimeoutError as error:
        reason = f"did not open a session in {options.timeout_s:g} s"
        link.socket.close()
        raise DeviceFrozen(subject, reason, "Restart edgeweave-device there") from error
    except OSError as error:
        link.socket.close()
        reason = f"hung up before the session began ({reason_of(error)})"
        raise LinkCut(subject, reason, "Try again") from error
    except BaseException:
        link.socket.close()
        raise
    link.socket.close()
    if code not in (RPC_BUSY, RPC_UNKNOWN):
        raise NotADevice(subject, f"answers {code} to a request for a session")
    return None, code


def _check_rest(link: Link, subject: str, deadline: Deadline) -> None:
    """What follows in the answer, the device's key, is sound and has arrived."""
    size = int.from_bytes(link.peek(4, deadline), "little", signed=True)
    if not 0 <= size <= LONGEST_GREETING:
        raise NotADevice(subject, f"announces a key of {size} bytes")
    link.peek(4 + size, deadline)


@cache
def _versions_here() -> dict[str, str]:
    return {name: version(name) for name in _EXACT}


def _check_architecture(identity: Identity, triple: str | None, subject: str) -> None:
    if triple is not None and triple_architecture(triple) != identity.arch:
        raise WrongArchitecture(
            subject,
            f"is {identity.arch}, and the code is built for {triple}",
            f"Compile for a board whose CPU is {identity.arch}, or name another device",
        )


def _refused(subject: str, secret: bytes | None) -> SecretRefused:
    if secret is None:
        return SecretRefused(
            subject,
            "serves only those who know its secret",
            "Give it with --secret-file, or in EDGEWEAVE_DEVICE_SECRET",
        )
    return SecretRefused(
        subject, "has another secret than the one given", "Give the file that the device has"
    )


def _busy(subject: str, busy: Busy | None, wait_s: float) -> DeviceBusy:
    told = busy_text(busy) if busy is not None else "has just begun a session with somebody else"
    waited = f", and was not free within {wait_s:g} s" if wait_s > 0 else ""
    return DeviceBusy(subject, told + waited, "Try again later, or wait longer with --wait")
