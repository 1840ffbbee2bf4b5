"""What can go wrong with devices and on the way to them: one class per fault."""

# ruff: noqa: N818 - the classes are named for what happens

from __future__ import annotations

from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.targets.devices.reply import MalformedReplyError, parse


class DeviceError(EdgeweaveError):
    """A device, or the way to it, failed.

    ``kind`` names the fault in one word or two. ``retry`` says whether the same attempt may
    succeed a moment later, on this device or on another one like it.
    """

    kind = "device"
    retry = False


class InvalidAddress(DeviceError):
    """A text is no ``HOST:PORT``."""

    kind = "invalid-address"


class TrackerUnreachable(DeviceError):
    """Nothing answers where the tracker should be."""

    kind = "tracker-unreachable"
    retry = True


class NotATracker(TrackerUnreachable):
    """What answers there is not a TVM tracker, or does not keep to its protocol."""

    kind = "not-a-tracker"
    retry = False


class NoSuchKey(DeviceError):
    """No device is registered with the tracker under that key."""

    kind = "no-such-key"


class DeviceUnreachable(DeviceError):
    """No connection to the device can be made."""

    kind = "device-unreachable"
    retry = True


class DeviceFrozen(DeviceError):
    """The device takes connections but does not answer."""

    kind = "device-frozen"
    retry = True


class DeviceBusy(DeviceError):
    """The device runs another session, and did so until the wait for it was over."""

    kind = "device-busy"
    retry = True


class DeviceTimeout(DeviceError):
    """A call took longer than it may; the device itself still answers."""

    kind = "timeout"
    retry = True


class LinkCut(DeviceError):
    """The connection broke, and the session did not end by its own fault."""

    kind = "link-cut"
    retry = True


class SessionDied(DeviceError):
    """The session's process ended on the device: ``signal`` names what ended it, "" for none.

    What the code itself caused happens again when it is tried again.
    """

    kind = "session-died"
    retry = True
    _BY_THE_CODE = frozenset(("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT", "SIGTRAP"))

    def __init__(self, subject: str, reason: str, next_step: str = "", signal: str = "") -> None:
        super().__init__(subject, reason, next_step)
        self.signal = signal
        self.retry = signal not in self._BY_THE_CODE


class DiskFull(DeviceError):
    """The device has no room for what was sent."""

    kind = "disk-full"


class TooLarge(DeviceError):
    """A file is larger than what the device takes."""

    kind = "too-large"


class WrongArchitecture(DeviceError):
    """The device's CPU is of another architecture than the code."""

    kind = "wrong-architecture"


class VersionMismatch(DeviceError):
    """The device runs other versions than those that are needed to talk to it."""

    kind = "version-mismatch"


class MissingFeatures(DeviceError):
    """The device's CPU lacks features that the code uses."""

    kind = "missing-features"


class SecretRefused(DeviceError):
    """The device wants a secret and did not get the right one."""

    kind = "secret-refused"


class NotADevice(DeviceError):
    """What answers there is not an edgeweave-device, or does not keep to its protocol."""

    kind = "not-a-device"


class DeviceFailure(DeviceError):
    """The device reports that it cannot do what was asked."""

    kind = "device-failure"


class Damaged(DeviceFailure):
    """What arrived on the device is not what was sent."""

    kind = "damaged"
    retry = True


class NoDeviceLeft(DeviceError):
    """Every device failed before all was done; ``faults`` has each one's, by its name."""

    kind = "no-device-left"

    def __init__(
        self,
        subject: str,
        reason: str,
        next_step: str = "",
        faults: dict[str, DeviceError] | None = None,
    ) -> None:
        super().__init__(subject, reason, next_step)
        self.faults = faults or {}


_REPORTED: dict[str, tuple[type[DeviceError], str]] = {
    "missing-features": (
        MissingFeatures,
        "Compile for a board file whose mcpu and mattr are this device's",
    ),
    "disk-full": (DiskFull, "Free some space on the device, or give it another --state folder"),
    "too-large": (TooLarge, "Start edgeweave-device with a larger --upload-mib or --store-mib"),
    "damaged": (Damaged, "Try again; if it goes on, check the device's memory and disk"),
}


def reported(subject: str, reply: str) -> DeviceError:
    """The fault in a device's reply ``{"error": {"kind": ..., "reason": ...}}``."""
    kind, reason = "failed", "it does not say why"
    try:
        error = parse(reply.encode("utf-8", "replace"), "its reply")["error"]
        kind, reason = error["kind"].text(), error["reason"].text()
    except MalformedReplyError:
        pass
    fault, advice = _REPORTED.get(kind, (DeviceFailure, ""))
    return fault(subject, reason, advice)
