"""A TVM tracker, asked over connections of our own: TVM's client waits for ever.

A tracker answers a request for a device when one is free, in the order of the requests. It forgets
a request when its connection is closed before; one that it answered takes the device away from the
others, so what came at the last moment is used or was never sent: see :meth:`Tracker.request`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceBusy,
    DeviceError,
    NoSuchKey,
    NotATracker,
    TrackerUnreachable,
)
from edgeweave.targets.devices.identity import GREETING, busy_text, hello
from edgeweave.targets.devices.reply import MalformedReplyError, Part, parse, printable
from edgeweave.targets.devices.wire import (
    RPC_MAGIC,
    TRACKER_MAGIC,
    Deadline,
    Link,
    answers,
    dial,
    message,
    number,
    reason_of,
)

TIMEOUT_S = 5.0
_REQUEST, _SUMMARY = 4, 6  # codes of the tracker's protocol
_SUCCESS = 0
_PRIORITY = 1
_LARGEST = 1 << 24  # bytes of a reply; a summary has some 100 bytes for each device
_SHOWN = 4  # devices that an error message goes into
_SHORT_S = 2.0
_AT_ONCE_S = 0.5
_CHECK = "Check the address, and that the tracker runs: python -m tvm.exec.rpc_tracker"


@dataclass(frozen=True)
class Registered:
    """A device that is connected to the tracker."""

    key: str
    address: Address


@dataclass(frozen=True)
class KeyState:
    """How many devices a key has, how many of them are free, how many requests wait for one."""

    devices: int
    free: int
    waiting: int


@dataclass(frozen=True)
class Summary:
    """What a tracker knows: its keys that have devices, and the devices."""

    keys: Mapping[str, KeyState]
    devices: tuple[Registered, ...]

    def of(self, key: str) -> list[Address]:
        """Where the devices of a key are."""
        return [device.address for device in self.devices if device.key == key]


@dataclass(frozen=True)
class Grant:
    """A device that is ours, and the key that opens its session."""

    address: Address
    match: str


@dataclass(frozen=True)
class Tracker:
    """A tracker at an address; it has ``timeout_s`` to answer what needs no waiting."""

    address: Address
    timeout_s: float = TIMEOUT_S

    def summary(self) -> Summary:
        """Its keys and devices. Raises TrackerUnreachable, or NotATracker."""
        deadline = Deadline(self.timeout_s)
        with self._open(deadline) as link:
            reply = self._receive_now(link, [_SUMMARY], deadline)
        try:
            return _summary(_value(reply))
        except MalformedReplyError as error:
            raise self._odd(str(error)) from error

    def request(self, key: str, wait_s: float) -> Grant:
        """A free device of a key, waiting ``wait_s`` for one.

        Raises NoSuchKey at once when no device has the key, DeviceBusy when all of them are busy
        until the end, TrackerUnreachable or NotATracker.
        """
        summary = self.summary()
        free = self.check_key(key, summary).free
        if not free and wait_s <= 0:
            raise self._busy(key, summary, wait_s)
        # What was free a moment ago may be somebody else's now; who does not wait finds out.
        grant = self._request(key, max(wait_s, _AT_ONCE_S if free else 0.0))
        if grant is None:
            summary = self.summary()
            self.check_key(key, summary)
            raise self._busy(key, summary, wait_s)
        return grant

    def take_free(self, key: str, most: int | None = None) -> list[Grant]:
        """The devices of a key that are free now, ``most`` at most; raises as :meth:`request`."""
        free = self.check_key(key, self.summary()).free
        grants: list[Grant] = []
        for _ in range(free if most is None else min(free, most)):
            grant = self._request(key, _AT_ONCE_S)
            if grant is None:
                break
            grants.append(grant)
        return grants

    def check_key(self, key: str, summary: Summary) -> KeyState:
        """The state of a key; NoSuchKey, which lists the keys there are, when it has no device."""
        if key not in summary.keys:
            raise self._no_such_key(key, summary)
        return summary.keys[key]

    def _request(self, key: str, wait_s: float) -> Grant | None:
        """A device, or None when none became free in time."""
        deadline = Deadline(self.timeout_s)
        with self._open(deadline) as link:
            self._send(link, [_REQUEST, key, "", _PRIORITY], deadline)
            reply = self._wait_for_grant(link, wait_s)
        if reply is None:
            return None
        try:
            return _grant(_value(reply))
        except MalformedReplyError as error:
            raise self._odd(str(error)) from error

    def _wait_for_grant(self, link: Link, wait_s: float) -> bytes | None:
        """The reply to a request; None when it was given up.

        A request is given up by ending our half of the connection. Then the tracker closes it, and
        what it had answered before arrives in front of the end: no device is lost.
        """
        try:
            try:
                return _receive_message(link, Deadline(wait_s))
            except TimeoutError:
                link.finish_sending()
                return _receive_message(link, Deadline(self.timeout_s))
        except ConnectionResetError:
            return None
        except MalformedReplyError as error:
            raise self._odd(str(error)) from error
        except OSError as error:
            raise self._silent() from error

    def _open(self, deadline: Deadline) -> Link:
        try:
            link = dial(self.address, deadline)
        except OSError as error:
            raise TrackerUnreachable(
                self._subject, f"cannot be reached ({reason_of(error)})", _CHECK
            ) from error
        try:
            link.send(number(TRACKER_MAGIC), deadline)
            magic = link.receive_int(deadline)
        except OSError as error:
            link.socket.close()
            raise self._no_tracker(error) from error
        if magic != TRACKER_MAGIC:
            link.socket.close()
            raise NotATracker(self._subject, "speaks another protocol", _CHECK)
        return link

    def _send(self, link: Link, request: Sequence[Any], deadline: Deadline) -> None:
        try:
            link.send(message(json.dumps(request).encode()), deadline)
        except OSError as error:
            raise self._silent() from error

    def _receive_now(self, link: Link, request: Sequence[Any], deadline: Deadline) -> bytes:
        self._send(link, request, deadline)
        try:
            return _receive_message(link, deadline)
        except MalformedReplyError as error:
            raise self._odd(str(error)) from error
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
            raise TrackerUnreachable(
                self._subject, f"hung up ({reason_of(error)})", _CHECK
            ) from error

    @property
    def _subject(self) -> str:
        return f"tracker {self.address}"

    def _silent(self) -> TrackerUnreachable:
        reason = f"takes connections but did not answer in {self.timeout_s:g} s"
        return TrackerUnreachable(self._subject, reason, "Restart the tracker")

    def _odd(self, what: str) -> NotATracker:
        return NotATracker(self._subject, f"does not keep to the protocol: {what}", _CHECK)

    def _no_tracker(self, error: OSError) -> TrackerUnreachable:
        if answers(self.address, GREETING, RPC_MAGIC, _SHORT_S):
            return NotATracker(
                self._subject, "is a device, not a tracker", "Leave --key out to use that device"
            )
        if isinstance(error, TimeoutError):
            return self._silent()
        return NotATracker(self._subject, f"hung up at once ({reason_of(error)})", _CHECK)

    def _no_such_key(self, key: str, summary: Summary) -> NoSuchKey:
        there = ", ".join(f"{name} ({_devices(s.devices)})" for name, s in summary.keys.items())
        return NoSuchKey(
            self._subject,
            f"has no device with the key {printable(key)!r}; "
            + (f"it has {there}" if there else "it has no devices at all"),
            "Use one of its keys" if there else "Start edgeweave-device with --tracker and --key",
        )

    def _busy(self, key: str, summary: Summary, wait_s: float) -> DeviceBusy:
        addresses = summary.of(key)
        told = "; ".join(_whom(address) for address in addresses[:_SHOWN])
        more = len(addresses) - _SHOWN
        told += f"; and {more} more" if more > 0 else ""
        waited = f" after {wait_s:g} s" if wait_s > 0 else ""
        return DeviceBusy(
            f"key {printable(key)!r}",
            f"no device is free{waited}: {told}",
            "Try again later, or wait longer with --wait",
        )


def _devices(count: int) -> str:
    return f"{count} device{'' if count == 1 else 's'}"


def _whom(address: Address) -> str:
    """Why a device is not free, as it says itself."""
    try:
        identity = hello(address, _SHORT_S)
    except DeviceError as fault:
        return f"{address} {fault.reason}"
    if identity.busy is None:
        return f"{identity.name} ({address}) is free again"
    return f"{identity.name} ({address}) {busy_text(identity.busy)}"


def _receive_message(link: Link, deadline: Deadline) -> bytes:
    """A whole message; nothing of it is lost when the deadline passes before its end."""
    size = int.from_bytes(link.look(4, deadline), "little", signed=True)
    if not 0 <= size <= _LARGEST:
        raise MalformedReplyError(f"it announces a reply of {size} bytes")
    return link.receive(4 + size, deadline)[4:]


def _value(data: bytes) -> Part:
    """What came with a reply ``[SUCCESS, value]``."""
    status, value, *_rest = [*parse(data, "its reply").items(), None, None]
    if status is None or value is None or status.number() != _SUCCESS:
        raise MalformedReplyError("its reply says that it failed")
    return value


def _grant(value: Part) -> Grant:
    host, port, match, *_rest = [*value.items(), *[Part("its reply", None)] * 3]
    return Grant(_address(host, port), match.exact_text())


def _address(host: Part, port: Part) -> Address:
    found = port.count()
    if not 0 < found < 1 << 16:
        raise port.wrong("a port")
    return Address(host.exact_text(), found)


def _summary(value: Part) -> Summary:
    devices = tuple(
        sorted(
            (_registered(entry) for entry in value["server_info"].items()),
            key=lambda device: (device.key, device.address),
        )
    )
    counts = Counter(device.key for device in devices)
    queues = value["queue_info"].entries()
    return Summary({key: _state(count, queues.get(key)) for key, count in counts.items()}, devices)


def _registered(entry: Part) -> Registered:
    host, port, *_rest = [*entry["addr"].items(), *[Part("its reply", None)] * 2]
    return Registered(entry["key"].text().removeprefix("server:"), _address(host, port))


def _state(devices: int, waiting: Part | None) -> KeyState:
    if waiting is None:
        return KeyState(devices, 0, 0)
    return KeyState(devices, waiting["free"].count(), waiting["pending"].count())
