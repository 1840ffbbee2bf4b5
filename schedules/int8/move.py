"""Moving bytes: transposing matrices, and surrounding images with a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm.script.ir_builder import IRBuilder
from tvm.tirx import PrimFunc
from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.emit import SHARED, cover, flat, load, loop, many, root, runs, store

_VECTORS = (64, 32, 16, 8, 4, 2, 1)
_BLOCK = 32  # rows and columns that stay in the first cache while they are exchanged


def transpose(
    batch: int, rows: int, columns: int, dtype: str, shapes: Sequence[tuple[int, ...]]
) -> PrimFunc:
    """The scheduled function that transposes matrices; ``shapes`` are input's and result's."""
    high, wide = min(_BLOCK, rows), min(_BLOCK, columns)
    lanes = next(size for size in _VECTORS[2:] if size <= high)
    strips = -(-columns // wide)
    with IRBuilder() as builder:
        with tir.prim_func(s_tir=True):
            tir.func_name("int8_transpose")
            tir.func_attr({"tirx.noalias": True})
            given = tir.arg("x", tir.buffer(shapes[0], dtype))
            result = tir.arg("y", tir.buffer(shapes[1], dtype))
            with root():
                x, y = flat(given), flat(result)
                with loop(batch * strips, shared=batch * rows * columns > SHARED) as task:
                    image = tir.bind(tir.floordiv(task, strips))
                    left = tir.bind(cover(tir.floormod(task, strips), wide, columns))
                    with loop(-(-rows // high)) as part, loop(wide) as step:
                        top, column = tir.bind(cover(part, high, rows)), tir.bind(left + step)
                        with loop(-(-high // lanes)) as run:
                            row = tir.bind(top + cover(run, lanes, high))
                            first = (image * rows + row) * columns + column
                            place = tir.ramp(first, columns, lanes) if lanes > 1 else first
                            store(y, x[place], (image * columns + column) * rows + row, lanes)
        return builder.get()


@dataclass(frozen=True)
class PadShape:
    """``planes`` images of ``size`` (rows, columns), and ``pads``: top, left, bottom, right."""

    planes: int
    size: tuple[int, int]
    pads: tuple[int, int, int, int]


def pad(shape: PadShape, value: int, dtype: str, shapes: Sequence[tuple[int, ...]]) -> PrimFunc:
    """The scheduled function that surrounds images with a value."""
    (height, width), (top, left, bottom, right) = shape.size, shape.pads
    rows, columns = top + height + bottom, left + width + right
    with IRBuilder() as builder:
        with tir.prim_func(s_tir=True):
            tir.func_name("int8_pad")
            tir.func_attr({"tirx.noalias": True})
            given = tir.arg("x", tir.buffer(shapes[0], dtype))
            result = tir.arg("y", tir.buffer(shapes[1], dtype))
            with root():
                x, y = flat(given), flat(result)
                filled = tir.Cast(dtype, tir.int32(value))
                shared = shape.planes * rows * columns > SHARED
                with loop(shape.planes, shared=shared) as plane, loop(rows) as row:
                    out = tir.bind((plane * rows + row) * columns)
                    read = tir.bind(row - top)
                    with tir.If(tir.And(read >= 0, read < height)):
                        with tir.Then():
                            start = tir.bind((plane * height + read) * width)
                            for begin, size in ((0, left), (left + width, right)):
                                for lanes, place in runs(size):
                                    store(y, many(filled, lanes), out + (begin + place), lanes)
                            lanes = next(size for size in _VECTORS if size <= width)
                            with loop(-(-width // lanes)) as part:
                                column = tir.bind(cover(part, lanes, width))
                                store(
                                    y, load(x, start + column, lanes), out + (left + column), lanes
                                )
                        with tir.Else():
                            lanes = next(size for size in _VECTORS if size <= columns)
                            with loop(-(-columns // lanes)) as part:
                                store(
                                    y, many(filled, lanes), out + cover(part, lanes, columns), lanes
                                )
        return builder.get()
