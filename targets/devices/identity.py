"""What a device says about itself: asked anew whenever it is reached, even while it is busy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceFrozen,
    DeviceUnreachable,
    LinkCut,
    NotADevice,
    VersionMismatch,
)
from edgeweave.targets.devices.reply import MalformedReplyError, Part, parse
from edgeweave.targets.devices.wire import (
    RPC_MAGIC,
    RPC_UNKNOWN,
    TRACKER_MAGIC,
    Deadline,
    Link,
    answers,
    dial,
    message,
    number,
    reason_of,
)

PROTOCOL = 1
HELLO_LIMIT_S = 5.0
GREETING = number(RPC_MAGIC) + message(b"edgeweave:hello")
_LARGEST = 1 << 18  # bytes of a reply
_PROBE_LIMIT_S = 2.0
_WRONG_PORT = "Check the address: it must be where edgeweave-device listens"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Cpu:
    """A core: its part (``cortex-a55``), highest clock in MHz and governor; None where unknown."""

    core: int
    part: str | None
    max_mhz: float | None
    governor: str | None


@dataclass(frozen=True)
class Limits:
    """The longest session in seconds, the largest file and the store for all files in MiB."""

    session_s: float
    upload_mib: float
    store_mib: float


@dataclass(frozen=True)
class Busy:
    """The session that runs now: for how long, how long it still may, and for whom."""

    since_s: float
    left_s: float
    peer: str


@dataclass(frozen=True)
class End:
    """How the session with key ``match`` ended: closed, timeout, signal or exit."""

    match: str
    end: str
    signal: str
    status: int
    seconds: float


@dataclass(frozen=True)
class Identity:
    """A device. ``emulated`` is "" or by what; ``match`` opens one direct session, soon.

    What a device cannot read is None, or "" for its serial number.
    """

    name: str
    key: str
    arch: str
    cpus: tuple[Cpu, ...]
    features: tuple[str, ...]
    memory_mib: float
    serial: str
    emulated: str
    versions: dict[str, str]
    runners: tuple[str, ...]
    limits: Limits
    free_mib: float
    temperature_c: float | None
    busy: Busy | None
    ended: tuple[End, ...]
    match: str

    @property
    def word(self) -> str:
        """What figures of this device are called: measured, or emulated."""
        return "emulated" if self.emulated else "measured"

    @property
    def parts(self) -> str:
        """The cores by part: ``4 x cortex-a55 + 2 x cortex-a76``."""
        counts = Counter(cpu.part or "unknown" for cpu in self.cpus)
        return " + ".join(f"{count} x {part}" for part, count in counts.items())

    def end_of(self, match: str) -> End | None:
        """How a session ended; None when it runs, or is forgotten."""
        return next((end for end in reversed(self.ended) if end.match == match), None)


def hello(address: Address, timeout_s: float = HELLO_LIMIT_S) -> Identity:
    """Ask a device who it is.

    Raises DeviceUnreachable, DeviceFrozen when something takes the connection but says nothing in
    ``timeout_s``, LinkCut, NotADevice, or VersionMismatch for a device of another protocol.
    """
    subject = f"device {address}"
    deadline = Deadline(timeout_s)
    try:
        link = dial(address, deadline)
    except OSError as error:
        reason = f"cannot be reached ({reason_of(error)})"
        raise DeviceUnreachable(
            subject, reason, "Check the address, and that edgeweave-device runs there"
        ) from error
    with link:
        try:
            link.send(GREETING, deadline)
            data = _receive(link, subject, deadline)
        except TimeoutError as error:
            raise DeviceFrozen(
                subject,
                f"takes connections but did not answer in {timeout_s:g} s",
                "Restart edgeweave-device there, or the device",
            ) from error
        except OSError as error:
            raise _hung_up(address, reason_of(error)) from error
    return parse_identity(data, subject)


def _receive(link: Link, subject: str, deadline: Deadline) -> bytes:
    magic = link.receive_int(deadline)
    if magic == RPC_UNKNOWN:
        raise NotADevice(
            subject,
            "is TVM's own RPC server, not edgeweave-device",
            "Make a folder for the device: edgeweave device build",
        )
    if magic != RPC_MAGIC:
        raise NotADevice(subject, "speaks another protocol", _WRONG_PORT)
    size = link.receive_int(deadline)
    if not 0 < size <= _LARGEST:
        raise NotADevice(subject, f"announces a reply of {size} bytes", _WRONG_PORT)
    return link.receive(size, deadline)


def _hung_up(address: Address, reason: str) -> LinkCut | NotADevice:
    """What to make of a peer that closed the connection unheard: a tracker does, too."""
    if answers(address, number(TRACKER_MAGIC), TRACKER_MAGIC, _PROBE_LIMIT_S):
        return NotADevice(
            f"device {address}",
            "is a TVM tracker, not a device",
            "Name one of its keys with --key; edgeweave device list shows them",
        )
    return LinkCut(
        f"device {address}", f"closed the connection before it answered ({reason})", _WRONG_PORT
    )


def parse_identity(data: bytes, subject: str) -> Identity:
    """The identity in a reply; NotADevice when it is malformed, VersionMismatch when foreign."""
    try:
        reply = parse(data, "its greeting")
        protocol = reply["protocol"].count()
        if protocol == PROTOCOL:
            return _identity(reply)
    except MalformedReplyError as error:
        raise NotADevice(subject, f"does not keep to the protocol: {error}", _WRONG_PORT) from error
    raise VersionMismatch(
        subject,
        f"speaks version {protocol} of the protocol, and this edgeweave speaks {PROTOCOL}",
        "Build the device's folder again with this edgeweave: edgeweave device build",
    )


def _identity(reply: Part) -> Identity:
    limits = reply["limits"]
    return Identity(
        name=reply["name"].text(),
        key=reply["key"].text(),
        arch=reply["arch"].text(),
        cpus=_each(reply["cpus"], _cpu),
        features=_each(reply["features"], Part.text),
        memory_mib=reply["memory_mib"].number(),
        serial=reply["serial"].text(),
        emulated=reply["emulated"].text(),
        versions={name: part.text() for name, part in reply["versions"].entries().items()},
        runners=_each(reply["runners"], Part.text),
        limits=Limits(
            limits["session_s"].number(),
            limits["upload_mib"].number(),
            limits["store_mib"].number(),
        ),
        free_mib=reply["free_mib"].number(),
        temperature_c=reply["temperature_c"].optional(Part.number),
        busy=reply["busy"].optional(_busy),
        ended=_each(reply["ended"], _end),
        match=reply["match"].exact_text(),
    )


def _each(part: Part, read: Callable[[Part], _T]) -> tuple[_T, ...]:
    return tuple(read(item) for item in part.items())


def _cpu(part: Part) -> Cpu:
    return Cpu(
        part["core"].count(),
        part["part"].optional(Part.text),
        part["max_mhz"].optional(Part.number),
        part["governor"].optional(Part.text),
    )


def _busy(part: Part) -> Busy:
    return Busy(part["since_s"].number(), part["left_s"].number(), part["peer"].text())


def _end(part: Part) -> End:
    return End(
        part["match"].text(),
        part["end"].text(),
        part["signal"].text(),
        int(part["status"].number()),
        part["seconds"].number(),
    )


def busy_text(busy: Busy) -> str:
    """With whom a device is busy, and how long."""
    return f"has been in a session with {busy.peer} for {busy.since_s:.0f} s"


def check_versions(identity: Identity, here: Mapping[str, str], subject: str) -> None:
    """VersionMismatch unless the device runs the same TVM as this machine: its RPC needs that."""
    for name, version in here.items():
        there = identity.versions.get(name, "of no known version")
        if there != version:
            raise VersionMismatch(
                subject,
                f"runs {name} {there}, and this machine has {version}",
                "Build the device's folder again with this edgeweave: edgeweave device build",
            )
