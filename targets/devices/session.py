"""A session on a device: TVM's RPC in which every call has a deadline and every fault a name."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from edgeweave.targets.devices import rpc_client
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.endings import Broken, explain
from edgeweave.targets.devices.faults import (
    DeviceError,
    DeviceFailure,
    LinkCut,
    reported,
)
from edgeweave.targets.devices.greeting import Options, greet
from edgeweave.targets.devices.identity import Identity
from edgeweave.targets.devices.reply import printable
from edgeweave.targets.devices.tracker import Grant
from edgeweave.targets.devices.wire import Link

__all__ = ["Options", "Session", "open_session", "reopen"]

_T = TypeVar("_T")
CLOSE_LIMIT_S = 5.0
# all that its C++ code throws arrives as one of these
_TVM_RAISES = (RuntimeError, AttributeError, TypeError, ValueError)
_UNTOLD = "RPCError: Error caught from RPC call:"


def open_session(place: Grant | Address, options: Options | None = None) -> Session:
    """Open a session at a device that a tracker granted, or at an address.

    The device is asked who it is first. Raises DeviceUnreachable, DeviceFrozen, NotADevice,
    VersionMismatch, WrongArchitecture, SecretRefused, LinkCut, or DeviceBusy after
    ``options.wait_s``.
    """
    options = options or Options()
    rpc_client.load()
    accepted = greet(place, options)
    address = place.address if isinstance(place, Grant) else place
    return Session(accepted.link, address, accepted.identity, accepted.match, options)


def reopen(session: Session) -> Session:
    """A new session at the device of one that ended, waiting a little until it is free."""
    options = session.options
    return open_session(session.address, replace(options, wait_s=max(options.wait_s, 5.0)))


class Session:
    """A session that is open until :meth:`close`, or until a call failed with its connection.

    One call runs at a time; a call from another thread waits for its end. TVM's own session and
    functions stay inside: freeing one while the session runs waits for the device with the
    interpreter locked, and then neither the bridge nor a deadline can end that wait.
    """

    def __init__(
        self, link: Link, address: Address, identity: Identity, match: str, options: Options
    ) -> None:
        self.address = address
        self.identity = identity
        self.options = options
        self._client: rpc_client.Client | None = None
        self._match = match
        self._socket: socket.socket = link.socket
        self._functions: dict[str, Any] = {}
        self._kept: list[Any] = []
        self._fault: DeviceError | None = None
        self._closed = False
        self._turn = threading.Lock()
        self._cut = threading.Event()
        try:
            self._client = self._in_turn(
                options.timeout_s, "the first call", lambda: rpc_client.connect(self._socket)
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The device's own name."""
        return self.identity.name

    @property
    def subject(self) -> str:
        """How errors call the device."""
        return f"device {self.identity.name} ({self.address})"

    def call(self, name: str, *arguments: Any, limit_s: float) -> Any:
        """Call a function of the device; its result as int, float, str, bytes or None.

        Raises DeviceTimeout, DeviceFrozen, DeviceUnreachable, SessionDied or LinkCut, after which
        the session is over; DeviceFailure, after which it goes on.
        """
        result = self._in_turn(limit_s, name, lambda: self._function(name)(*arguments))
        if isinstance(result, int | float | None):
            return result
        if isinstance(result, str):
            return str.__str__(result)  # Python's own instead of TVM's subclass
        if isinstance(result, bytes):
            return bytes.__getitem__(result, slice(None))
        self._kept.append(result)
        raise DeviceFailure(self.subject, f"{name} returns no number, text or bytes")

    def ask(
        self, name: str, request: dict[str, Any] | str, *data: Any, limit_s: float
    ) -> dict[str, Any]:
        """Call a function that returns JSON, with JSON or a text; an empty request is not sent.

        Raises as :meth:`call`, and the fault that the device reports in its answer.
        """
        sent = request if isinstance(request, str) else json.dumps(request)
        arguments = (sent, *data) if request else data
        reply = self.call(name, *arguments, limit_s=limit_s)
        try:
            found = json.loads(reply)
        except (ValueError, TypeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise DeviceFailure(self.subject, f"{name} answers with something that is no JSON")
        if "error" in found:
            raise reported(self.subject, reply)
        return found

    def _in_turn(self, limit_s: float, what: str, action: Callable[[], _T]) -> _T:
        """What the action, which calls TVM, returns within ``limit_s``; ``what`` names it."""
        with self._turn:
            if self._fault is not None:
                raise self._fault
            if self._closed:
                raise LinkCut(self.subject, f"{what} was called after the session's end")
            return self._limited(limit_s, what, action)

    def _limited(self, limit_s: float, what: str, action: Callable[[], _T]) -> _T:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._end_connection()

        timer = threading.Timer(limit_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            result = action()
        except _TVM_RAISES as error:
            said, of_the_function = _told(error), _is_of_the_function(error)
        except BaseException:
            self._end_connection()  # an interrupt, for one, leaves half a message behind
            raise
        else:
            if not late.is_set():
                return result
            said, of_the_function = "", False
        finally:
            timer.cancel()
            timer.join()
        # Here, outside of the handler, so that no fault keeps TVM's objects alive with its trace.
        if of_the_function and not late.is_set() and not self._is_over():
            raise DeviceFailure(self.subject, f"{what}: {said}")
        self._end_connection()
        self._release()
        if self._cut.is_set():
            self._fault = LinkCut(self.subject, f"{what} was ended from here")
            self._fault.retry = False
            raise self._fault
        broken = Broken(self.subject, self.address, self._match, what, limit_s, late.is_set(), said)
        self._fault = explain(broken, self.options.timeout_s)
        raise self._fault

    def _function(self, name: str) -> Any:
        assert self._client is not None  # or the session had a fault, or was closed
        if name not in self._functions:
            self._functions[name] = self._client.function(name)
        return self._functions[name]

    def _is_over(self) -> bool:
        """Whether the other side has closed the connection."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def cut(self) -> None:
        """End the session at once, from any thread; a call that waits fails with LinkCut."""
        self._cut.set()
        self._end_connection()

    def _end_connection(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        """Drop all that TVM holds; nothing waits for the device when the connection is over."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                client.disconnect()
        self._functions.clear()
        self._kept.clear()

    def close(self) -> None:
        """End the session; the device is free then. Waits for a call, but no longer than 5 s."""
        if not self._turn.acquire(timeout=CLOSE_LIMIT_S):
            self.cut()
            self._turn.acquire()
        try:
            if self._closed:
                return
            self._closed = True
            timer = threading.Timer(CLOSE_LIMIT_S, self._end_connection)
            timer.daemon = True
            timer.start()
            try:
                self._release()
            finally:
                timer.cancel()
                timer.join()
                self._end_connection()
                self._socket.close()
        finally:
            self._turn.release()


def _is_of_the_function(error: Exception) -> bool:
    """Whether the function failed, or was never called; the connection is in order then."""
    from tvm.error import RPCError

    return isinstance(error, RPCError | AttributeError | TypeError | ValueError)


def _told(error: Exception) -> str:
    """The first line of TVM's words that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and line != _UNTOLD]
    return printable(telling[0])[:200] if telling else type(error).__name__
