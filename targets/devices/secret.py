"""The secret that a device may ask for, and the proof of it."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from edgeweave.targets.devices.faults import SecretRefused

VARIABLE = "EDGEWEAVE_DEVICE_SECRET"
_MOST = 1 << 16  # bytes; a longer file was named by mistake


def read_secret(path: Path | None) -> bytes | None:
    """The content of a file, else of EDGEWEAVE_DEVICE_SECRET, without the newline at its end.

    None when neither is given; SecretRefused for a file that holds no secret.
    """
    if path is None:
        return os.fsencode(os.environ.get(VARIABLE, "")).rstrip(b"\r\n") or None
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except OSError as error:
        raise _unusable(path, f"cannot be read ({error.strerror})") from error
    if len(content) > _MOST:
        raise _unusable(path, f"is longer than {_MOST} bytes")
    secret = content.rstrip(b"\r\n")
    if not secret:
        raise _unusable(path, "is empty")
    return secret


def _unusable(path: Path, reason: str) -> SecretRefused:
    return SecretRefused(f"secret file {path}", reason, "Give the file that the device has")


def proof(secret: bytes, match: str) -> str:
    """HMAC-SHA256 (RFC 2104) of a session's key in lower-case hex: what a device checks."""
    return hmac.new(secret, match.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
