"""All devices at a place, asked at the same time who they are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import DeviceError
from edgeweave.targets.devices.identity import HELLO_LIMIT_S, Identity, hello
from edgeweave.targets.devices.tracker import Registered, Tracker
from edgeweave.targets.devices.wire import TRACKER_MAGIC, answers, number

_AT_ONCE = 32
_PROBE_LIMIT_S = 2.0


@dataclass(frozen=True)
class Seen:
    """A device as it answered, or the fault where it did not; ``key`` is the tracker's for it."""

    key: str
    address: Address
    identity: Identity | None
    fault: DeviceError | None

    @property
    def state(self) -> str:
        """``free``, ``busy``, or the kind of the fault."""
        if self.fault is not None:
            return self.fault.kind
        return "busy" if self.identity is not None and self.identity.busy is not None else "free"


def is_tracker(address: Address) -> bool:
    """Whether a TVM tracker answers there."""
    return answers(address, number(TRACKER_MAGIC), TRACKER_MAGIC, _PROBE_LIMIT_S)


def survey(tracker: Tracker, key: str | None = None) -> list[Seen]:
    """The devices of a tracker, or those with a key.

    Raises TrackerUnreachable, NotATracker, or NoSuchKey.
    """
    summary = tracker.summary()
    if key is not None:
        tracker.check_key(key, summary)
    wanted = [device for device in summary.devices if key in (None, device.key)]
    return _ask(wanted)


def _ask(devices: Sequence[Registered]) -> list[Seen]:
    if not devices:
        return []
    with ThreadPoolExecutor(min(len(devices), _AT_ONCE)) as threads:
        return list(threads.map(_see, devices))


def _see(device: Registered) -> Seen:
    try:
        identity = hello(device.address, HELLO_LIMIT_S)
    except DeviceError as fault:
        return Seen(device.key, device.address, None, fault)
    return Seen(device.key, device.address, identity, None)
