"""A thread for each of several devices; all end when one has an error, or on an interrupt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from edgeweave.targets.devices.seat import Seat

_LOOK_S = 0.1  # an interrupt is noticed within so many seconds
THREAD_NAME = "edgeweave-device"
# For threads whose sessions were cut. What is left then ends with the program.
_END_S = 10.0


class Crew:
    """Threads that serve seats; ``stopped`` says that no more is wanted of them."""

    def __init__(self, seats: Sequence[Seat], on_stop: Callable[[], None] = lambda: None) -> None:
        self.seats = seats
        self.stopped = threading.Event()
        self._on_stop = on_stop
        self._errors: list[BaseException] = []

    def run(self, serve: Callable[[Seat], None]) -> None:
        """Call ``serve`` for every seat, all at once; each seat is left when its call returns.

        The first error of any is raised here. On it, and on an interrupt, all sessions are cut.
        """
        threads = [
            threading.Thread(
                target=self._serve,
                args=(serve, seat),
                name=f"{THREAD_NAME}-{seat.address}",
            )
            for seat in self.seats
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive() and not self._errors:
                    thread.join(_LOOK_S)
        finally:
            self._end(threads)
        if self._errors:
            raise self._errors[0]

    def _serve(self, serve: Callable[[Seat], None], seat: Seat) -> None:
        try:
            serve(seat)
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._errors.append(error)
        finally:
            seat.leave()

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        if not any(thread.is_alive() for thread in threads):
            return
        self.stopped.set()
        self._on_stop()
        for seat in self.seats:
            seat.cut()
        until = time.monotonic() + _END_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
