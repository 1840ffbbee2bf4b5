"""Small pieces of code that the integer kernels share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

from tvm.tirx.script import builder as tir

SHARED = 16384  # elements that are moved or computed one by one below which threads cost more


@contextmanager
def loop(extent: int, *, shared: bool = False) -> Iterator[Any]:
    """A loop, among threads if it is ``shared``; none where it would run once."""
    if extent == 1:
        yield tir.int32(0)
    else:
        with (tir.parallel if shared else tir.serial)(0, extent) as place:
            yield place


@contextmanager
def root() -> Iterator[None]:
    """The one block around a function's code that passes of Relax expect."""
    with tir.sblock("root"):
        tir.reads([])
        tir.writes([])
        yield


def flat(buffer: Any, dtype: str | None = None) -> Any:
    """A buffer's elements without its axes, as they are or as another type of their size."""
    count = prod(int(extent) for extent in buffer.shape)
    return tir.decl_buffer((count,), dtype or buffer.dtype, data=buffer.data)


def many(value: Any, lanes: int) -> Any:
    """A vector that holds the value in every lane; the value itself for one lane."""
    return tir.Broadcast(value, lanes) if lanes > 1 else value


def kind(dtype: str, lanes: int) -> str:
    """The name of a vector's type."""
    return f"{dtype}x{lanes}" if lanes > 1 else dtype


def load(buffer: Any, place: Any, lanes: int) -> Any:
    """Consecutive elements as a vector."""
    return buffer.vload([place], kind(buffer.dtype, lanes))


def store(buffer: Any, value: Any, place: Any, lanes: int) -> None:
    """Store a vector to consecutive elements."""
    tir.buffer_store(buffer, value, [tir.ramp(place, 1, lanes) if lanes > 1 else place])


def runs(size: int) -> list[tuple[int, int]]:
    """Vectors that cover so many elements once: lanes and place of each, lanes falling."""
    found, place = [], 0
    while place < size:
        lanes = next(lanes for lanes in (64, 32, 16, 8, 4, 2, 1) if lanes <= size - place)
        found.append((lanes, place))
        place += lanes
    return found


def cover(place: Any, size: int, extent: int) -> Any:
    """Where the ``place``-th run of ``size`` begins: the last ends at ``extent``, overlapping."""
    return tir.min(place * size, extent - size) if extent % size else place * size


def cover_to(place: Any, size: int, extent: int) -> Any:
    """The place, or the last one from which ``size`` elements end inside of ``extent``."""
    return tir.min(place, max(extent - size, 0))
