"""One device of several that are used at once: its session, opened again when it broke."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TypeVar

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import LinkCut
from edgeweave.targets.devices.greeting import Options
from edgeweave.targets.devices.identity import Identity
from edgeweave.targets.devices.session import Session, open_session
from edgeweave.targets.devices.tracker import Grant

_T = TypeVar("_T")
_SETTLES_S = 10.0  # a device may need so long until its last session is over


class Seat:
    """A device's place among those in use; what it opens, :meth:`cut` and :meth:`leave` end.

    ``identity`` is None until it was reached. Only :meth:`cut` may be called from other threads.
    """

    def __init__(self, place: Grant | Address, options: Options) -> None:
        self.address = place.address if isinstance(place, Grant) else place
        self.identity: Identity | None = None
        self._place = place
        self._options = options
        self._session: Session | None = None
        self._cut = threading.Event()

    @property
    def name(self) -> str:
        """The device's name, or its address until that is known."""
        return str(self.address) if self.identity is None else self.identity.name

    def session(self) -> Session:
        """The session, opened where there is none; raises why it cannot be."""
        if self._cut.is_set():
            fault = LinkCut(f"device {self.address}", "is not used any more")
            fault.retry = False
            raise fault
        if self._session is None:
            self._session = open_session(self._place, self._options)
            self.identity = self._session.identity
            # The grant is used up; the next session is asked for at the device itself.
            self._place = self.address
            wait_s = max(self._options.wait_s, _SETTLES_S)
            self._options = replace(self._options, wait_s=wait_s)
            if self._cut.is_set():
                self._session.cut()
        return self._session

    def give_away(self) -> Session:
        """The open session, which the caller closes."""
        session = self.session()
        self._session = None
        return session

    def leave(self) -> None:
        """End the session; the next :meth:`session` is a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def cut(self) -> None:
        """End what runs there at once; it stays so."""
        self._cut.set()
        session = self._session
        if session is not None:
            session.cut()
