"""The code of an integer convolution: loops over tasks, tiles of filters and runs of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.emit import cover, kind, load, loop, many, store
from edgeweave.schedules.int8.pack import Block, Source, emit_pack
from edgeweave.schedules.int8.round import Rounding

if TYPE_CHECKING:
    from edgeweave.schedules.int8.conv import ConvKernel

_COPIES = (16, 8, 4, 1)  # bytes copied at once, the first that a row has


@dataclass(frozen=True)
class ConvCode:
    """Emits the parts of a kernel; buffers are flat, the input's elements are uint8."""

    kernel: ConvKernel
    x: Any
    weights: Any
    bias: Any
    scale: Any
    numbers: Any
    y: Any

    def emit(self) -> None:
        """The loop over what threads share: images, blocks of rows, and groups or filters."""
        kernel, shape, tile = self.kernel, self.kernel.shape, self.kernel.tile
        blocks = -(-shape.out_height // tile.rows)
        units = shape.group if shape.group > 1 else kernel.filter_tiles
        units_of_part = -(-units // tile.parts)
        parts = -(-units // units_of_part)
        with loop(shape.batch * blocks * parts, shared=tile.shared) as task:
            image = tir.bind(tir.floordiv(task, blocks * parts))
            block = tir.floormod(tir.floordiv(task, parts), blocks)
            first_row = tir.bind(cover(block, tile.rows, shape.out_height))
            first_unit = tir.bind(cover(tir.floormod(task, parts), units_of_part, units))
            words = tir.alloc_buffer(
                (kernel.layout.words(tile.rows, tile.pitch) + tile.run,), kernel.unit.word
            )
            room = tile.filters * (tile.span + tile.run)
            scratch = tir.alloc_buffer((room,), kernel.y_dtype) if tile.scratch else None
            rounding = Rounding.bind(self.numbers)
            if shape.group == 1:
                where = Block(image, tir.int32(0), first_row, tile.rows, tile.pitch)
                self._pack(words, where)
                with loop(units_of_part) as unit:
                    number = tir.bind(first_unit + unit)
                    self._filters(words, scratch, rounding, where, number)
                return
            with loop(units_of_part) as unit:
                group = tir.bind(first_unit + unit)
                where = Block(image, group, first_row, tile.rows, tile.pitch)
                self._pack(words, where)
                with loop(kernel.filter_tiles) as number:
                    self._filters(words, scratch, rounding, where, number)

    def _pack(self, words: Any, where: Block) -> None:
        kernel = self.kernel
        pad, offset = (tir.bind(self.numbers[place]) for place in (0, 1))
        source = Source(self.x, kernel.x_dtype, kernel.unit, pad, offset)
        emit_pack(source, words, kernel.layout, where)

    def _filters(
        self, words: Any, scratch: Any, rounding: Rounding, block: Block, number: Any
    ) -> None:
        """A tile of filters over all places of the block."""
        kernel, shape, tile = self.kernel, self.kernel.shape, self.kernel.tile
        group_tile = tir.bind(block.group * kernel.filter_tiles + number)
        in_group = cover(number, tile.filters, shape.filters_of_group)
        first = tir.bind(block.group * shape.filters_of_group + in_group)
        area = shape.out_height * shape.out_width
        plane = block.image * shape.filters + first
        start = tir.bind(plane * area + block.first_row * shape.out_width)
        with loop(1 if tile.flat else tile.rows) as row, loop(tile.runs) as part:
            if tile.scratch:
                column = tir.bind(part * tile.run)
            else:
                column = tir.bind(cover(part, tile.run, tile.span if tile.flat else tile.width))
            base = column if tile.flat else tir.bind(row * tile.pitch + column)
            sums = self._sums(words, group_tile, first, base)
            if kernel.spread:
                self._round_spread(sums, rounding, block, first, (block.first_row + row, column))
            elif tile.scratch:
                self._round(sums, rounding, first, scratch, column, tile.span + tile.run)
            else:
                out = tir.bind(start + row * shape.out_width + column)
                self._round(sums, rounding, first, self.y, out, area)
        if tile.scratch:
            self._copy(scratch, start)

    def _sums(self, words: Any, group_tile: Any, first: Any, base: Any) -> list[list[Any]]:
        """Bias and products for a tile of filters and a run of words from ``base``."""
        tile, unit, layout = self.kernel.tile, self.kernel.unit, self.kernel.layout
        lanes, rows = unit.lanes, self.kernel.shape.kernel[0]
        stored = layout.row_phases * layout.stored_rows(tile.rows)
        sums = [
            [tir.alloc_buffer((lanes,), "int32") for _ in range(tile.run // lanes)]
            for _ in range(tile.filters)
        ]
        for place, row_of_sums in enumerate(sums):
            for total in row_of_sums:
                store(total, many(self.bias[first + place], lanes), 0, lanes)
        with loop(layout.steps) as step, loop(rows) as row:
            line = step * (len(layout.planes) * stored) + self._stored_row(row)
            source = tir.bind(base + line * tile.pitch)
            of_row = len(layout.taps) * tile.filters
            weights = tir.bind(((group_tile * layout.steps + step) * rows + row) * of_row)
            for number, tap in enumerate(layout.taps):
                shift = tap.plane * stored * tile.pitch + tap.shift
                reads = [
                    tir.bind(load(words, source + (shift + vector * lanes), lanes))
                    for vector in range(tile.run // lanes)
                ]
                for place, row_of_sums in enumerate(sums):
                    weight = many(self.weights[weights + (number * tile.filters + place)], lanes)
                    for read, total in zip(reads, row_of_sums, strict=True):
                        store(total, unit.dot(load(total, 0, lanes), read, weight), 0, lanes)
        return sums

    def _stored_row(self, row: Any) -> Any:
        """The stored row that a row of the kernel reads for the block's first output row."""
        shape, layout = self.kernel.shape, self.kernel.layout
        read, stride = row * shape.dilations[0], shape.strides[0]
        if stride == 1:
            return read
        rows = layout.stored_rows(self.kernel.tile.rows)
        return tir.floormod(read, stride) * rows + tir.floordiv(read, stride)

    def _round(
        self, sums: list[list[Any]], rounding: Rounding, first: Any, into: Any, out: Any, step: int
    ) -> None:
        """Store results; those of the next filter stand ``step`` further on."""
        lanes, dtype = self.kernel.unit.lanes, self.kernel.y_dtype
        for place, row_of_sums in enumerate(sums):
            scale = many(self.scale[first + place], lanes)
            for vector, total in enumerate(row_of_sums):
                value = rounding.apply(load(total, 0, lanes), scale, lanes, dtype)
                store(into, value, out + (place * step + vector * lanes), lanes)

    def _round_spread(
        self,
        sums: list[list[Any]],
        rounding: Rounding,
        block: Block,
        first: Any,
        place: tuple[Any, Any],
    ) -> None:
        """Store results whose filters are pixels: those of a row of them stand side by side."""
        kernel, shape, lanes = self.kernel, self.kernel.shape, self.kernel.unit.lanes
        down, along = kernel.spread or (1, 1)
        (row, column), wide = place, f"uint{8 * along}"
        channels = shape.filters // (down * along)
        for begin in range(0, len(sums), along):
            line = tir.floordiv(first + begin, along)
            channel, pixel_row = tir.floordiv(line, down), tir.floormod(line, down)
            rows = (block.image * channels + channel) * shape.out_height + row
            out = tir.bind(((rows * down + pixel_row) * shape.out_width + column) * along)
            for vector in range(kernel.tile.run // lanes):
                joined = None
                for pixel in range(along):
                    scale = many(self.scale[first + begin + pixel], lanes)
                    total = load(sums[begin + pixel][vector], 0, lanes)
                    byte = rounding.apply(total, scale, lanes, "uint8")
                    value = tir.Cast(kind(wide, lanes), byte)
                    if joined is not None:
                        shift = tir.Cast(wide, tir.int32(8 * pixel))
                        value = joined | (value << many(shift, lanes))
                    joined = value
                size = lanes * along
                bytes_ = tir.reinterpret(kind(kernel.y_dtype, size), joined)
                store(self.y, bytes_, out + vector * size, size)

    def _copy(self, scratch: Any, start: Any) -> None:
        """Copy rows of results to their places."""
        shape, tile = self.kernel.shape, self.kernel.tile
        size = next(size for size in _COPIES if size <= tile.width)
        with loop(tile.filters) as place, loop(tile.rows) as row:
            read = tir.bind(place * (tile.span + tile.run) + row * tile.pitch)
            write = tir.bind(start + (place * shape.out_height + row) * tile.width)
            with loop(-(-tile.width // size)) as part:
                column = tir.bind(cover(part, size, tile.width))
                store(self.y, load(scratch, read + column, size), write + column, size)
