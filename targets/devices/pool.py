"""Several devices at once: the same work on each, or a queue of items that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.crew import Crew
from edgeweave.targets.devices.faults import DeviceError
from edgeweave.targets.devices.greeting import Options
from edgeweave.targets.devices.identity import Identity
from edgeweave.targets.devices.item_queue import ItemQueue
from edgeweave.targets.devices.retry import Say, retry
from edgeweave.targets.devices.rpc_client import MOST_SESSIONS
from edgeweave.targets.devices.seat import Seat
from edgeweave.targets.devices.session import Session
from edgeweave.targets.devices.tracker import Tracker

_R = TypeVar("_R")
_T = TypeVar("_T")
TRIES = 3
_CONNECTS = 2


@dataclass(frozen=True)
class Place:
    """Where devices are: one at an address, or those of a tracker's key that are free.

    ``devices`` is how many are used at most, None for all.
    """

    address: Address
    key: str | None = None
    devices: int | None = None
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Done(Generic[_R]):
    """What came of a piece of work: its value or the fault, and the device it came from.

    ``tries`` are the faults of earlier attempts, in words. ``identity`` is None where the device
    was never reached.
    """

    value: _R | None
    fault: DeviceError | None
    name: str
    address: Address
    identity: Identity | None
    tries: tuple[str, ...]


def acquire(place: Place, most: int | None = None, say: Say | None = None) -> list[Session]:
    """Sessions on all free devices of a key, or on one address; ``most`` of them at most.

    A device that fails is left out and told to ``say``; when all do, the first one's fault is
    raised. Raises as :meth:`Tracker.request` when there is no device within ``options.wait_s``.
    """
    seats = _find(place, most, say)
    sessions: list[Session] = []
    faults: list[DeviceError] = []

    def take(seat: Seat) -> None:
        try:
            seat.session()
            sessions.append(seat.give_away())
        except DeviceError as fault:
            faults.append(fault)

    try:
        Crew(seats).run(take)
    except BaseException:
        for session in sessions:
            session.close()
        raise
    if not sessions:
        raise faults[0]
    for fault in faults:
        _tell(say, f"left out: {fault}")
    return sessions


def on_each(
    place: Place,
    work: Callable[[Session], _R],
    tries: int = TRIES,
    say: Say | None = None,
    most: int | None = None,
) -> list[Done[_R]]:
    """The same work on every device at once; one that fails does not keep the others from it.

    A fault that a retry may help is tried again on the same device, in a new session. Raises as
    :meth:`Tracker.request` when there is no device, and what ``work`` raises beside DeviceError.
    """
    found: dict[int, Done[_R]] = {}
    seats = _find(place, most, say)
    crew = Crew(seats)

    def persist(seat: Seat) -> None:
        told: list[str] = []

        def attempt() -> _R:
            try:
                return work(seat.session())
            except DeviceError as fault:
                seat.leave()
                told.append(str(fault))
                raise

        try:
            value = retry(attempt, tries, say, crew.stopped.wait)
        except DeviceError as fault:
            found[id(seat)] = _failure(seat, fault, told[:-1])
        else:
            found[id(seat)] = _success(seat, value, told)

    crew.run(persist)
    return [found[id(seat)] for seat in seats]


def work_through(
    place: Place,
    items: Sequence[_T],
    work: Callable[[Session, _T], _R],
    tries: int = TRIES,
    say: Say | None = None,
) -> list[Done[_R]]:
    """A queue of items that all devices share; what came of them is in the items' order.

    An item that ended with a fault which a retry may help goes to another device, where there is
    one, and is tried ``tries`` times at most. A device that cannot be reached again is left out;
    when none is left, NoDeviceLeft names every device's fault; of one device, its own is raised.
    Raises otherwise as :func:`on_each`.
    """
    if not items:
        return []
    seats = _find(place, len(items), say)
    jobs: ItemQueue[_T, Done[_R]] = ItemQueue(items, seats, tries)
    crew = Crew(seats, jobs.stop)

    def serve(seat: Seat) -> None:
        while (job := jobs.take(seat)) is not None:
            try:
                session = retry(seat.session, _CONNECTS, say, crew.stopped.wait)
            except DeviceError as fault:
                jobs.leave(seat, seat.name, job, fault)
                _tell(say, f"left out: {fault}")
                return
            try:
                value = work(session, job.item)
            except DeviceError as fault:
                seat.leave()
                _tell(say, str(fault))
                if not jobs.fail(seat, seat.name, job, fault, _failure(seat, fault, job.told)):
                    _tell(say, f"left out: {fault.subject}")
                    return
            else:
                jobs.finish(seat, job, _success(seat, value, job.told))

    crew.run(serve)
    return jobs.results(f"key {place.key}" if place.key else f"device {place.address}")


def _find(place: Place, most: int | None, say: Say | None) -> list[Seat]:
    """The devices to use, at least one: granted by the tracker, or the address itself."""
    if place.key is None:
        return [Seat(place.address, place.options)]
    tracker = Tracker(place.address)
    limits = [limit for limit in (most, place.devices) if limit is not None]
    key, most = place.key, min([*limits, MOST_SESSIONS])
    grants = retry(lambda: tracker.take_free(key, most), TRIES, say)
    grants = grants or [tracker.request(key, place.options.wait_s)]
    return [Seat(grant, place.options) for grant in grants]


def _success(seat: Seat, value: _R, told: Sequence[str]) -> Done[_R]:
    return Done(value, None, seat.name, seat.address, seat.identity, tuple(told))


def _failure(seat: Seat, fault: DeviceError, told: Sequence[str]) -> Done[_R]:
    return Done(None, fault, seat.name, seat.address, seat.identity, tuple(told))


def _tell(say: Say | None, text: str) -> None:
    if say is not None:
        say(text)
