"""Things that go wrong on purpose: servers with odd manners, and a link that can be cut."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TypeAlias

import pytest

from edgeweave.targets.devices.address import Address
from edgeweave.targets.kit.launch import RunningDevice

Manners: TypeAlias = Callable[[socket.socket], None]


class Server:
    """A listener that treats every connection with the given manners, in a thread of its own."""

    def __init__(self, manners: Manners) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._manners = manners
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    @property
    def address(self) -> Address:
        return Address(*self._listener.getsockname())

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            self._manners(connection)

    def cut(self) -> None:
        """End all connections there are."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it all; nothing happens the second time."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(10)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[[Manners], Server]]:
    """Start a server: ``serve(lambda connection: ...)``; it is ended after the test."""
    with ExitStack() as stack:

        def start(manners: Manners) -> Server:
            return stack.enter_context(closing(Server(manners)))

        yield start


@pytest.fixture
def relay(serve: Callable[[Manners], Server]) -> Callable[[Address], Server]:
    """A link to another address that can be cut, while new connections go on to work."""

    def start(target: Address) -> Server:
        def pass_on(connection: socket.socket) -> None:
            with socket.create_connection((target.host, target.port), 10) as there:
                there.settimeout(None)
                back = threading.Thread(target=_pump, args=(there, connection))
                back.start()
                _pump(connection, there)
                back.join()

        return serve(pass_on)

    return start


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def session_processes(device: RunningDevice) -> list[int]:
    """The processes of the sessions that a device runs."""
    pid = device.process.pid
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.fixture
def interfere() -> Iterator[Callable[[RunningDevice, int], None]]:
    """Send a signal to a device's session half a second later: ``interfere(device, SIGKILL)``."""
    timers: list[threading.Timer] = []

    def later(device: RunningDevice, number: int, delay_s: float = 0.5) -> None:
        def send() -> None:
            for pid in session_processes(device):
                os.kill(pid, number)

        timers.append(threading.Timer(delay_s, send))
        timers[-1].start()

    yield later
    for timer in timers:
        timer.join()
