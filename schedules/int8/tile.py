"""How much of a convolution's result is computed at once: chosen by an estimate of cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgeweave.schedules.int8.dot import DotUnit
from edgeweave.schedules.int8.shape import Layout

WORTH_THREADS = 50_000.0  # cycles below which waking threads costs more than they give
_CACHE_BYTES = 256 * 1024  # packed input that stays near a core
_BEYOND_CACHE = 1.3  # how much longer the work takes when it does not
_LATENCY = 5  # cycles from one sum to the next that adds to it
_MOST_FILTERS, _MOST_VECTORS = 16, 6
_LOADS = 2  # a cycle
# Cycles, roughly as measured: of a vector's end, of a packed vector, of a packed row, of a call.
_ROUND, _PACK, _ROW, _TASK = 5.0, 6.0, 20.0, 2000.0


@dataclass(frozen=True)
class ConvTile:
    """A block of output rows, and the part of it that stands in registers.

    ``pitch`` is the words from one packed row to the next, ``width`` the columns of the result,
    ``run`` how many of them are computed at once. With ``flat`` runs go over the ends of rows;
    their results go through ``scratch`` where they do not stand in the result as they are
    computed. ``parts`` is how many ways groups or filters are shared among threads, ``shared``
    whether there are any but the caller's.
    """

    rows: int
    pitch: int
    width: int
    flat: bool
    filters: int
    run: int
    parts: int
    shared: bool = True

    @property
    def span(self) -> int:
        """Words from the first to the last output of a block."""
        return (self.rows - 1) * self.pitch + self.width

    @property
    def scratch(self) -> bool:
        """Whether results are written elsewhere first, and then copied row by row."""
        return self.flat and (self.pitch != self.width or self.span < self.run)

    @property
    def runs(self) -> int:
        """Runs of a block, or of a row where they end with it."""
        return -(-(self.span if self.flat else self.width) // self.run)


def choose_tile(layout: Layout, unit: DotUnit, cores: int, together: int = 0) -> ConvTile | None:
    """The tile of least estimated time.

    With ``together`` it computes multiples of so many filters, and no run leaves its row; None
    where rows are too short for it.
    """
    alone = _best(layout, unit, 1, together)
    if alone is None or (cores > 1 and _cycles(alone, layout, unit, 1) > WORTH_THREADS):
        return _best(layout, unit, cores, together)
    return replace(alone, shared=False)


def _best(layout: Layout, unit: DotUnit, cores: int, together: int) -> ConvTile | None:
    tiles = [
        tile
        for tile in _tiles(layout, unit, cores)
        if not together or (tile.filters % together == 0 and not tile.flat)
    ]
    return min(tiles, key=lambda tile: _cycles(tile, layout, unit, cores), default=None)


def _tiles(layout: Layout, unit: DotUnit, cores: int) -> Iterator[ConvTile]:
    shape = layout.shape
    pitch = shape.out_width + layout.halo
    most = min(shape.filters_of_group, _MOST_FILTERS)
    for rows in _block_rows(shape.out_height):
        blocks = shape.batch * -(-shape.out_height // rows)
        for filters in range(1, most + 1):
            for vectors in range(1, _MOST_VECTORS + 1):
                if filters * vectors + vectors + 3 > unit.registers:
                    break
                shared = shape.group if shape.group > 1 else -(-shape.filters // filters)
                parts = min(shared, -(-2 * cores // blocks)) if cores > 1 else 1
                run = vectors * unit.lanes
                for flat in (False, True):
                    if flat or run <= shape.out_width:
                        yield ConvTile(rows, pitch, shape.out_width, flat, filters, run, parts)


def _block_rows(height: int) -> list[int]:
    """Sizes that cut the rows into blocks of about equal size."""
    return sorted({-(-height // blocks) for blocks in (*range(1, 9), 12, 16, 24, 32, 64, 128)})


def _cycles(tile: ConvTile, layout: Layout, unit: DotUnit, cores: int) -> float:
    """Estimated cycles of the whole convolution."""
    shape = layout.shape
    blocks = shape.batch * -(-shape.out_height // tile.rows)
    vectors = tile.run // unit.lanes
    places = tile.runs * (1 if tile.flat else tile.rows)
    sums = tile.filters * vectors
    tap = max(sums / unit.rate, (tile.filters + vectors) / _LOADS, _LATENCY)
    step = shape.kernel[0] * (len(layout.taps) * tap + 2)
    place = layout.steps * step + sums * _ROUND + 10
    tiles = -(-shape.filters_of_group // tile.filters)
    work = tiles * places * place
    if tile.scratch:
        work += shape.filters_of_group * tile.rows * (6 + 3 * -(-tile.width // 16))
    stored = layout.steps * len(layout.planes) * layout.row_phases * layout.stored_rows(tile.rows)
    pack = stored * (_ROW + _PACK * tile.pitch / 16)
    beyond = layout.words(tile.rows, tile.pitch) * unit.word_bytes > _CACHE_BYTES
    groups = -(-shape.group // tile.parts) if shape.group > 1 else 1
    share = 1 if shape.group > 1 else -(-tiles // tile.parts) / tiles
    task = groups * (pack + work * share) * (_BEYOND_CACHE if beyond else 1.0)
    return -(-blocks * tile.parts // cores) * (task + _TASK)
