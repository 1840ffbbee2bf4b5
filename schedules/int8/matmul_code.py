"""The code of an integer product of matrices: loops over tasks, runs of columns, tiles of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.emit import cover, cover_to, load, loop, many, store
from edgeweave.schedules.int8.pack import Source, load_bytes
from edgeweave.schedules.int8.round import SETTINGS, Rounding

if TYPE_CHECKING:
    from edgeweave.schedules.int8.matmul import MatmulKernel

MORE_SETTINGS = 3  # after those of ``round``
_LANES = (16, 8, 4, 2, 1)  # words packed at once, the first that fits


@dataclass(frozen=True)
class MatmulCode:
    """Emits the parts of a kernel; buffers are flat, elements of activations are uint8."""

    kernel: MatmulKernel
    a: Any
    b: Any
    bias: Any
    scale: Any
    numbers: Any
    y: Any

    def emit(self) -> None:
        """The loop over what threads share: products, blocks of rows and of runs of columns."""
        kernel, shape, tile = self.kernel, self.kernel.shape, self.kernel.tile
        row_blocks = -(-shape.rows // tile.rows)
        run_blocks = -(-kernel.runs // tile.runs)
        with loop(shape.batch * row_blocks * run_blocks, shared=tile.shared) as task:
            batch = tir.bind(tir.floordiv(task, row_blocks * run_blocks))
            block = tir.floormod(tir.floordiv(task, run_blocks), row_blocks)
            first_row = tir.bind(cover(block, tile.rows, shape.rows))
            first_run = tir.bind(cover(tir.floormod(task, run_blocks), tile.runs, kernel.runs))
            first_column = tir.bind(cover_to(first_run * kernel.run, self.width, shape.columns))
            where = (batch, first_row, first_column)
            rounding = Rounding.bind(self.numbers)
            left, right, sums = self.operands(where)
            with loop(tile.runs) as part:
                run = tir.bind(first_run + part)
                column = tir.bind(cover(run, kernel.run, kernel.padded_columns))
                offsets = None if sums is None else self.sum_columns(right, column - first_column)
                with loop(-(-tile.rows // tile.row_sums)) as some:
                    row = tir.bind(cover(some, tile.row_sums, tile.rows))
                    totals = self.start(sums, offsets, first_row, row, column)
                    self.add(totals, left, right, (first_row, row), (run, column - first_column))
                    self.round(totals, rounding, batch, first_row + row, column)

    @property
    def width(self) -> int:
        """Columns of the right side that a task reads."""
        return min(self.kernel.shape.columns, self.kernel.tile.runs * self.kernel.run)

    @property
    def pitch(self) -> int:
        """Words from one packed row of the right side to the next."""
        kernel = self.kernel
        return kernel.run if kernel.weights == "right" else max(self.width, kernel.run)

    def operands(self, where: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """Both sides in words, and the sums of the left one's rows where they are needed."""
        kernel, tile, unit = self.kernel, self.kernel.tile, self.kernel.unit
        left, right, sums = self.a, self.b, None
        if kernel.weights != "left":
            left = tir.alloc_buffer((tile.rows * kernel.steps,), unit.word)
            self.pack_left(left, where)
        if kernel.weights != "right":
            right = tir.alloc_buffer((kernel.steps * self.pitch + unit.lanes,), unit.word)
            self.pack_right(right, where)
        if kernel.weights == "none" and unit.depth == 4:
            sums = tir.alloc_buffer((tile.rows,), "int32")
            self.sum_rows(left, sums)
        return left, right, sums

    def pack_left(self, words: Any, where: tuple[Any, Any, Any]) -> None:
        """Rows of the left side: consecutive values are a word already but for their form."""
        kernel, shape, unit = self.kernel, self.kernel.shape, self.kernel.unit
        batch, first_row, _ = where
        whole = shape.inner // unit.depth
        lanes = next(size for size in _LANES if size <= max(whole, 1))
        offset = tir.bind(self.numbers[SETTINGS])
        with loop(kernel.tile.rows) as row:
            read = tir.bind((batch * shape.rows + first_row + row) * shape.inner)
            write = tir.bind(row * kernel.steps)
            if whole:
                with loop(-(-whole // lanes)) as part:
                    place = tir.bind(cover(part, lanes, whole))
                    run = load(self.a, read + place * unit.depth, lanes * unit.depth)
                    store(words, kernel.left_words(run, offset, lanes), write + place, lanes)
            if shape.inner % unit.depth:
                store(words, self.last_word(read + whole * unit.depth, offset), write + whole, 1)

    def last_word(self, place: Any, offset: Any) -> Any:
        """A word of the values that are left, and zeros."""
        kernel, depth = self.kernel, self.kernel.unit.depth
        width = 32 // depth
        word = tir.int32(0)
        for value in range(kernel.shape.inner % depth):
            stored = kernel.left_value(tir.Cast("int32", self.a[place + value]), offset)
            word = word | ((stored & tir.int32((1 << width) - 1)) << tir.int32(width * value))
        return word

    def pack_right(self, words: Any, where: tuple[Any, Any, Any]) -> None:
        """Columns of the right side: a word holds values of consecutive rows."""
        kernel, shape, unit = self.kernel, self.kernel.shape, self.kernel.unit
        batch, _, first_column = where
        source = Source(
            self.b, kernel.dtypes[1], unit, tir.bind(self.numbers[0]), tir.bind(self.numbers[1])
        )
        lanes = next(size for size in _LANES if size <= self.width)
        left_over = shape.inner % unit.depth
        with loop(kernel.steps) as step:
            starts = [
                tir.bind(
                    (batch * shape.inner + tir.min(step * unit.depth + value, shape.inner - 1))
                    * shape.columns
                    + first_column
                )
                for value in range(unit.depth)
            ]
            mask = (1 << (32 // unit.depth * left_over)) - 1 if left_over else -1
            kept = tir.bind(tir.Select(step == kernel.steps - 1, tir.int32(mask), tir.int32(-1)))
            with loop(-(-self.width // lanes)) as part:
                place = tir.bind(cover(part, lanes, self.width))
                values = [load_bytes(source, start + place, 1, lanes) for start in starts]
                word = source.word(values, lanes)
                if left_over:
                    word = word & many(kept, lanes)
                store(words, word, step * self.pitch + place, lanes)

    def sum_rows(self, left: Any, sums: Any) -> None:
        """The sum of each row of the left side as it is stored."""
        kernel = self.kernel
        with loop(kernel.tile.rows) as row:
            tir.buffer_store(sums, tir.int32(0), [row])
            with loop(kernel.steps) as step:
                word = tir.bind(left[row * kernel.steps + step])
                total = sums[row]
                for shift in (24, 16, 8, 0):
                    total = total + ((word << tir.int32(shift)) >> tir.int32(24))
                tir.buffer_store(sums, total, [row])

    def sum_columns(self, right: Any, column: Any) -> list[Any]:
        """The sums of a run of the right side's columns, times the left side's zero point."""
        kernel, unit = self.kernel, self.kernel.unit
        totals = [tir.alloc_buffer((unit.lanes,), "int32") for _ in range(kernel.tile.vectors)]
        for total in totals:
            store(total, many(tir.int32(0), unit.lanes), 0, unit.lanes)
        ones = many(tir.int32(0x01010101), unit.lanes)
        with loop(kernel.steps) as step:
            for vector, total in enumerate(totals):
                place = step * self.pitch + column + vector * unit.lanes
                read = load(right, place, unit.lanes)
                store(total, unit.dot(load(total, 0, unit.lanes), read, ones), 0, unit.lanes)
        zero = many(self.numbers[SETTINGS + 2], unit.lanes)
        for total in totals:
            store(total, load(total, 0, unit.lanes) * zero, 0, unit.lanes)
        return totals

    def start(
        self, sums: Any, offsets: list[Any] | None, first_row: Any, row: Any, column: Any
    ) -> list[list[Any]]:
        """Sums with what does not depend on products of both sides."""
        kernel, tile, lanes = self.kernel, self.kernel.tile, self.kernel.unit.lanes
        totals = [
            [tir.alloc_buffer((lanes,), "int32") for _ in range(tile.vectors)]
            for _ in range(tile.row_sums)
        ]
        for place, row_of_totals in enumerate(totals):
            for vector, total in enumerate(row_of_totals):
                if kernel.weights == "right":
                    value = load(self.bias, column + vector * lanes, lanes)
                else:
                    number = self.bias[first_row + row + place]
                    if sums is not None:
                        number = number - self.numbers[SETTINGS + 1] * sums[row + place]
                    value = many(number, lanes)
                    if offsets is not None:
                        value = value - load(offsets[vector], 0, lanes)
                store(total, value, 0, lanes)
        return totals

    def add(
        self,
        totals: list[list[Any]],
        left: Any,
        right: Any,
        rows: tuple[Any, Any],
        columns: tuple[Any, Any],
    ) -> None:
        """Add the products of a tile of rows and a run of columns."""
        kernel, unit, lanes = self.kernel, self.kernel.unit, self.kernel.unit.lanes
        (first_row, row), (run, column) = rows, columns
        top = tir.bind((first_row + row if kernel.weights == "left" else row) * kernel.steps)
        if kernel.weights == "right":
            base = tir.bind(run * (kernel.steps * kernel.run))
        else:
            base = tir.bind(column)
        with loop(kernel.steps) as step:
            reads = [
                tir.bind(load(right, base + step * self.pitch + vector * lanes, lanes))
                for vector in range(kernel.tile.vectors)
            ]
            for place, row_of_totals in enumerate(totals):
                word = many(left[top + (place * kernel.steps) + step], lanes)
                for read, total in zip(reads, row_of_totals, strict=True):
                    pair = (word, read) if kernel.weights == "right" else (read, word)
                    store(total, unit.dot(load(total, 0, lanes), *pair), 0, lanes)

    def round(
        self, totals: list[list[Any]], rounding: Rounding, batch: Any, row: Any, column: Any
    ) -> None:
        """Store the results of a tile."""
        kernel, shape, lanes = self.kernel, self.kernel.shape, self.kernel.unit.lanes
        narrow = shape.columns < lanes
        line = tir.alloc_buffer((lanes,), kernel.y_dtype) if narrow else None
        for place, row_of_totals in enumerate(totals):
            out = (batch * shape.rows + row + place) * shape.columns + column
            for vector, total in enumerate(row_of_totals):
                if kernel.weights == "right":
                    scale = load(self.scale, column + vector * lanes, lanes)
                else:
                    scale = many(self.scale[row + place], lanes)
                value = rounding.apply(load(total, 0, lanes), scale, lanes, kernel.y_dtype)
                if line is None:
                    store(self.y, value, out + vector * lanes, lanes)
                    continue
                store(line, value, 0, lanes)
                with loop(shape.columns) as place_of:
                    tir.buffer_store(self.y, line[place_of], [out + place_of])
