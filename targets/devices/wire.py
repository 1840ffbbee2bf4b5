"""TCP connections on which every wait has a deadline, and the numbers of TVM's protocols on them.

Both protocols are little endian: an int32 that names the protocol, then messages of an int32 size
and as many bytes.
"""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Any, Self

from edgeweave.targets.devices.address import Address

RPC_MAGIC = 0xFF271
RPC_BUSY = RPC_MAGIC + 1
RPC_UNKNOWN = RPC_MAGIC + 2
TRACKER_MAGIC = 0x2F271
LONGEST_GREETING = 1024  # bytes of what a client says first

_PEEK_EVERY_S = 0.002
# A peer whose machine lost its power is noticed within about so many seconds.
_SILENT_S = 30
_PROBE_S = 10


class Deadline:
    """A moment before which something has to be done."""

    def __init__(self, limit_s: float) -> None:
        self._at = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds until then, 0 when it has passed."""
        return max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether there is no time left."""
        return not self.left_s

    def wait_s(self) -> float:
        """Seconds that a blocking call may take; TimeoutError when there are none."""
        left = self.left_s
        if not left:
            raise TimeoutError("timed out")
        return left


class Link:
    """A TCP connection. Every method ends at its deadline with TimeoutError.

    A connection that the other side closed raises ConnectionResetError; OSError stands for all.
    What was received when a deadline passed is there for the next attempt.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of it."""
        self.socket.settimeout(deadline.wait_s())
        self.socket.sendall(data)

    def receive(self, size: int, deadline: Deadline) -> bytes:
        """Exactly ``size`` bytes."""
        data = self.look(size, deadline)
        del self._received[:size]
        return data

    def look(self, size: int, deadline: Deadline) -> bytes:
        """The next ``size`` bytes, which :meth:`receive` will return as well."""
        while len(self._received) < size:
            self.socket.settimeout(deadline.wait_s())
            chunk = self.socket.recv(min(size - len(self._received), 1 << 16))
            if not chunk:
                raise ConnectionResetError("it closed the connection")
            self._received += chunk
        return bytes(self._received[:size])

    def receive_int(self, deadline: Deadline) -> int:
        """An int32."""
        (value,) = struct.unpack("<i", self.receive(4, deadline))
        return int(value)

    def peek(self, size: int, deadline: Deadline) -> bytes:
        """Exactly ``size`` bytes, which stay in the system for whoever reads the socket next."""
        while True:
            self.socket.settimeout(deadline.wait_s())
            data = self.socket.recv(size, socket.MSG_PEEK)
            if len(data) == size:
                return data
            if not data:
                raise ConnectionResetError("it closed the connection")
            time.sleep(_PEEK_EVERY_S)

    def finish_sending(self) -> None:
        """Tell the other side that nothing more comes; it can still answer."""
        self.socket.shutdown(socket.SHUT_WR)


def message(data: bytes) -> bytes:
    """A message as it travels."""
    return struct.pack("<i", len(data)) + data


def number(value: int) -> bytes:
    """An int32 as it travels."""
    return struct.pack("<i", value)


def dial(address: Address, deadline: Deadline) -> Link:
    """Connect; OSError says why it cannot be done."""
    failure: OSError = ConnectionRefusedError("the name stands for no address")
    for family, kind, protocol, _name, place in _resolve(address, deadline):
        connected = socket.socket(family, kind, protocol)
        try:
            _notice_silence(connected)
            connected.settimeout(deadline.wait_s())
            connected.connect(place)
        except OSError as error:
            connected.close()
            failure = error
        else:
            return Link(connected)
    raise failure


def _notice_silence(connected: socket.socket) -> None:
    """Let the system find out when the other machine is gone, even while we wait for it."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_S * 1000)


def _resolve(address: Address, deadline: Deadline) -> list[Any]:
    """As getaddrinfo, which has no deadline of its own: a name is looked up in another thread."""
    kind = socket.SOCK_STREAM
    try:
        return socket.getaddrinfo(
            address.host, address.port, type=kind, flags=socket.AI_NUMERICHOST
        )
    except (OSError, UnicodeError):
        pass  # no number: a name
    found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(list(socket.getaddrinfo(address.host, address.port, type=kind)))
        except OSError as error:
            found.put(error)
        except UnicodeError:
            found.put(socket.gaierror("no name of a host"))

    threading.Thread(target=look_up, name="edgeweave-name", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.wait_s())
    except queue.Empty:
        raise TimeoutError("its name was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def reason_of(error: OSError) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error) or type(error).__name__)[:200]


def answers(address: Address, greeting: bytes, wanted: int, limit_s: float) -> bool:
    """Whether something there answers a greeting with this number; False when in doubt."""
    deadline = Deadline(limit_s)
    try:
        with dial(address, deadline) as link:
            link.send(greeting, deadline)
            return link.receive_int(deadline) == wanted
    except OSError:
        return False
