"""Items that several devices share: who takes which, and what becomes of those that failed."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgeweave.targets.devices.faults import DeviceError, NoDeviceLeft, SessionDied

_T = TypeVar("_T")
_R = TypeVar("_R")
# A device on which so many items failed one after another is not used any more.
_PATIENCE = 3


@dataclass
class Job(Generic[_T]):
    """An item on its way: where it was tried, what came of it there, sessions it has cost."""

    index: int
    item: _T
    tried: list[Hashable] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    deaths: int = 0


class ItemQueue(Generic[_T, _R]):
    """What is still to be done, for the threads of several workers, each known by a key."""

    def __init__(self, items: Sequence[_T], workers: Iterable[Hashable], tries: int) -> None:
        self._waiting = [Job(index, item) for index, item in enumerate(items)]
        self._results: dict[int, _R] = {}
        self._total = len(items)
        self._workers = set(workers)
        self._failures = dict.fromkeys(self._workers, 0)
        self._faults: dict[str, DeviceError] = {}
        self._tries = tries
        self._stopped = False
        self._changed = threading.Condition()

    def take(self, worker: Hashable) -> Job[_T] | None:
        """The next item for a worker, after waiting for one; None when all are done, or stopped.

        An item that failed on a worker is for the others, while there are others.
        """
        with self._changed:
            while not self._stopped and len(self._results) < self._total:
                for position, job in enumerate(self._waiting):
                    if worker not in job.tried or self._workers <= set(job.tried):
                        return self._waiting.pop(position)
                self._changed.wait()
            return None

    def finish(self, worker: Hashable, job: Job[_T], result: _R) -> None:
        """The item is done."""
        with self._changed:
            self._failures[worker] = 0
            self._settle(job, result)

    def fail(
        self, worker: Hashable, name: str, job: Job[_T], fault: DeviceError, result: _R
    ) -> bool:
        """The item failed on a worker called ``name``; whether that worker may go on.

        When it cannot be tried again, ``result`` is what came of it.
        """
        with self._changed:
            job.tried.append(worker)
            job.deaths += isinstance(fault, SessionDied)
            if fault.retry and len(job.tried) < self._tries and job.deaths < 2:
                job.told.append(str(fault))
                self._waiting.insert(0, job)
            else:
                self._settle(job, result)
            self._failures[worker] += 1
            if fault.retry and self._failures[worker] >= _PATIENCE:
                self._drop(worker, name, fault)
                return False
            self._changed.notify_all()
            return True

    def leave(self, worker: Hashable, name: str, job: Job[_T], fault: DeviceError) -> None:
        """A worker called ``name`` cannot go on; its item was not tried."""
        with self._changed:
            self._waiting.insert(0, job)
            self._drop(worker, name, fault)

    def stop(self) -> None:
        """No worker gets another item."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def results(self, subject: str) -> list[_R]:
        """What came of the items, in their order.

        When some were never settled: the fault of the only worker, or NoDeviceLeft with all.
        """
        with self._changed:
            if len(self._results) < self._total:
                if len(self._failures) == 1:
                    raise next(iter(self._faults.values()))
                told = "; ".join(str(fault) for fault in self._faults.values())
                raise NoDeviceLeft(
                    subject,
                    f"no device is left, with {len(self._results)} of {self._total} items done: "
                    f"{told}",
                    faults=dict(self._faults),
                )
            return [self._results[index] for index in range(self._total)]

    def _settle(self, job: Job[_T], result: _R) -> None:
        self._results[job.index] = result
        self._changed.notify_all()

    def _drop(self, worker: Hashable, name: str, fault: DeviceError) -> None:
        self._workers.discard(worker)
        self._faults[name] = fault
        self._changed.notify_all()
