"""A queue that devices share: what one of them could not finish goes back for the others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

_T = TypeVar("_T")
_LOOK_S = 0.5  # a thread that waits for others looks up this often


class WorkQueue(Generic[_T]):
    """Items of work. A device that has nothing to take waits while others may give one back."""

    def __init__(self, items: Iterable[_T]) -> None:
        self._items = deque(items)
        self._taken = 0
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def left(self) -> tuple[_T, ...]:
        """The items that nobody has finished or is working on."""
        with self._changed:
            return tuple(self._items)

    def stop(self) -> None:
        """Hand out nothing any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @contextmanager
    def take(self) -> Iterator[_T | None]:
        """The next item, or None when all is done; an error inside gives the item back."""
        item = self._next()
        try:
            yield item
        except BaseException:
            if item is not None:
                self._finish(item)
            raise
        if item is not None:
            self._finish(None)

    def _next(self) -> _T | None:
        with self._changed:
            while not self._items and self._taken and not self._stopped:
                self._changed.wait(_LOOK_S)
            if not self._items or self._stopped:
                return None
            self._taken += 1
            return self._items.popleft()

    def _finish(self, given_back: _T | None) -> None:
        with self._changed:
            self._taken -= 1
            if given_back is not None:
                self._items.appendleft(given_back)
            self._changed.notify_all()
