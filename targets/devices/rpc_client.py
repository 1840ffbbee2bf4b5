"""TVM's RPC client on a connection that we opened ourselves.

``rpc.Connect`` opens its own connection, waits for ever on it, and leaves its descriptor open when
the greeting fails. So it connects to a listener in this process instead, and two threads pass on
what it and the device say. Shutting our connection down then ends whatever TVM waits for.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from edgeweave.targets.devices.faults import DeviceFailure
from edgeweave.targets.devices.wire import RPC_MAGIC, Deadline, Link, number

MOST_SESSIONS = 32  # of one process at once, in TVM's table of them
_HOST = "127.0.0.1"
_LOCAL_LIMIT_S = 10.0
_LONGEST_KEY = 256
_CHUNK = 1 << 18  # bytes


def load() -> None:
    """Import TVM, which takes seconds the first time: before any deadline runs.

    DeviceFailure where TVM was told to keep the interpreter locked while it waits.
    """
    import tvm.rpc  # noqa: F401
    import tvm_ffi

    if not tvm_ffi.get_global_func("rpc.Connect").release_gil:
        raise DeviceFailure(
            "TVM", "would keep this program from running while it waits for a device",
            "Unset TVM_FFI_RELEASE_GIL_BY_DEFAULT",
        )  # fmt: skip


def connect(connected: socket.socket) -> Client:
    """TVM's client on a connection whose greeting was answered with RPC_MAGIC.

    What follows in the answer is still to be read from it. Waits until the other side has answered
    TVM's first call: whoever wants an end to that shuts ``connected`` down. Raises what TVM raises.
    """
    import tvm_ffi
    from tvm.rpc.client import RPCSession

    connected.setblocking(True)  # the flag belongs to the connection, not to the descriptor
    open_client = tvm_ffi.get_global_func("rpc.Connect")
    token = secrets.token_hex(16)
    bridge = Bridge(connected)
    try:
        with socket.create_server((_HOST, 0)) as listener, _waiting(listener, token, bridge):
            port = listener.getsockname()[1]
            return Client(RPCSession(open_client(_HOST, port, token, False)), bridge)
    except BaseException:
        bridge.close()
        raise


class Client:
    """TVM's ``RPCSession`` at one end of a bridge."""

    def __init__(self, rpc: Any, bridge: Bridge) -> None:
        self._rpc = rpc
        self._bridge = bridge

    def function(self, name: str) -> Any:
        """A function of the other side; it must outlive :meth:`disconnect`.

        Freeing it sooner waits for the device with the interpreter locked: the bridge stands still,
        and so does all of this process, for ever.
        """
        function = self._rpc.get_function(name)
        function.release_gil = True
        return function

    def disconnect(self) -> None:
        """Tell the other side that the session is over, and close TVM's connection and ours.

        May wait when the other side reads nothing, until our connection is shut down. What TVM
        still holds then fails when it is used.
        """
        try:
            self._rpc._sess.get_function("CloseRPCConnection")()
        finally:
            self._bridge.close()


class Bridge:
    """Passes on bytes between TVM's end in this process and the device, in a thread each way."""

    def __init__(self, device: socket.socket) -> None:
        self._device = device
        self._local: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def begin(self, local: socket.socket) -> None:
        """Pass on from now; the bridge closes ``local``."""
        self._local = local
        for source, sink in ((local, self._device), (self._device, local)):
            thread = threading.Thread(
                target=_pass_on, args=(source, sink), name="edgeweave-rpc", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End both directions, after what TVM has said last was passed on."""
        if self._local is None:
            return
        with suppress(OSError):
            self._local.shutdown(socket.SHUT_RD)  # what it has said already is still read
        self._threads[0].join()
        with suppress(OSError):
            self._device.shutdown(socket.SHUT_RDWR)
        self._threads[1].join()
        self._local.close()
        self._local = None


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Until one of them ends; then the other ends too."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):
            end.shutdown(how)


@contextmanager
def _waiting(listener: socket.socket, token: str, bridge: Bridge) -> Iterator[None]:
    """While inside, wait in another thread for TVM at the listener, and begin the bridge."""
    listener.settimeout(_LOCAL_LIMIT_S)
    thread = threading.Thread(
        target=_receive, args=(listener, token, bridge), name="edgeweave-rpc", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends its wait where TVM never came
        thread.join()


def _receive(listener: socket.socket, token: str, bridge: Bridge) -> None:
    with suppress(OSError):  # then TVM sees the end of its connection, and says so
        while True:
            accepted, _peer = listener.accept()
            link = Link(accepted)
            if _said(link) == f"client:{token}".encode():
                link.send(number(RPC_MAGIC), Deadline(_LOCAL_LIMIT_S))
                accepted.setblocking(True)
                bridge.begin(accepted)
                return
            accepted.close()


def _said(link: Link) -> bytes:
    """The key in a greeting; nothing for anything else that may have come by."""
    deadline = Deadline(_LOCAL_LIMIT_S)
    if link.receive_int(deadline) != RPC_MAGIC:
        return b""
    return link.receive(min(max(link.receive_int(deadline), 0), _LONGEST_KEY), deadline)
