"""Where a device or a tracker listens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeweave.targets.devices.faults import InvalidAddress

_LONGEST = 253  # characters of a host name (RFC 1035)
_FORM = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+)):([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, order=True)
class Address:
    """A host, by name or number, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, or ``[ADDRESS]:PORT`` for IPv6; raises InvalidAddress."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise _invalid(text, "is not HOST:PORT")
    host, port = found[1] or found[2], int(found[3])
    if not 0 < port < 1 << 16:
        raise _invalid(text, "has no port between 1 and 65535")
    if len(host) > _LONGEST:
        raise _invalid(text, "has a host name that is too long")
    return Address(host, port)


def _invalid(text: str, reason: str) -> InvalidAddress:
    shown = text if text.isprintable() and len(text) <= 80 else ascii(text)[:80]
    return InvalidAddress(
        f"address {shown!r}", reason, "Write it like 10.0.0.5:9090 or rack-07:9090"
    )
