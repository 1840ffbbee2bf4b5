"""Maximum pooling of bytes as one kernel: rows first, in vectors, and then along a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.script.ir_builder import IRBuilder
from tvm.tirx import PrimFunc
from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.emit import SHARED, cover, flat, kind, load, loop, many, root, store

_VECTORS = (64, 32, 16, 8, 4, 2, 1)
_WIDE_LOADS = (1, 2, 4)  # strides that one load covers


@dataclass(frozen=True)
class PoolShape:
    """Windows over ``planes`` images; pairs are (rows, columns), ``pads`` those top and left."""

    planes: int
    size: tuple[int, int]
    result: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]


def max_pool(
    shape: PoolShape, dtype: str, x_shape: tuple[int, ...], y_shape: tuple[int, ...]
) -> PrimFunc:
    """The scheduled function of input and result; padding never is the largest."""
    with IRBuilder() as builder:
        with tir.prim_func(s_tir=True):
            tir.func_name("int8_max_pool")
            tir.func_attr({"tirx.noalias": True})
            x = tir.arg("x", tir.buffer(x_shape, dtype))
            y = tir.arg("y", tir.buffer(y_shape, dtype))
            with root():
                _Pool(shape, flat(x), flat(y), int(np.iinfo(dtype).min)).emit()
        return builder.get()


@dataclass(frozen=True)
class _Pool:
    shape: PoolShape
    x: Any
    y: Any
    least: int

    def emit(self) -> None:
        """Each plane by itself: the largest of its rows' columns, then of neighbours of those."""
        shape, (rows, columns) = self.shape, self.shape.result
        reach = (columns - 1) * shape.strides[1] + (shape.kernel[1] - 1) * shape.dilations[1] + 1
        width = max(reach, shape.pads[1] + shape.size[1])
        lanes = next(size for size in _VECTORS if size <= columns)
        lanes = lanes if shape.strides[1] in _WIDE_LOADS else 1
        room = width + lanes * shape.strides[1]
        shared = shape.planes * rows * columns > SHARED
        with loop(shape.planes, shared=shared) as plane:
            line = tir.alloc_buffer((room,), self.x.dtype)
            with loop(rows) as row:
                self._fill(line, room)
                with loop(shape.kernel[0]) as tap:
                    first = row * shape.strides[0] - shape.pads[0]
                    read = tir.bind(first + tap * shape.dilations[0])
                    with tir.If(tir.And(read >= 0, read < shape.size[0])), tir.Then():
                        self._add_row(line, (plane * shape.size[0] + read) * shape.size[1])
                out = tir.bind((plane * rows + row) * columns)
                with loop(-(-columns // lanes)) as part:
                    column = tir.bind(cover(part, lanes, columns))
                    value = None
                    for tap in range(shape.kernel[1]):
                        place = column * shape.strides[1] + tap * shape.dilations[1]
                        one = self._spaced(line, place, lanes)
                        value = one if value is None else tir.max(value, one)
                    store(self.y, value, out + column, lanes)

    def _fill(self, line: Any, room: int) -> None:
        size = next(size for size in _VECTORS if size <= room)
        least = many(tir.Cast(str(self.x.dtype), tir.int32(self.least)), size)
        with loop(-(-room // size)) as part:
            store(line, least, cover(part, size, room), size)

    def _add_row(self, line: Any, start: Any) -> None:
        """The larger of the line and a row of the image."""
        width, left = self.shape.size[1], self.shape.pads[1]
        size = next(size for size in _VECTORS if size <= width)
        begin = tir.bind(start)
        with loop(-(-width // size)) as part:
            column = tir.bind(cover(part, size, width))
            row = load(self.x, begin + column, size)
            store(line, tir.max(load(line, column + left, size), row), column + left, size)

    def _spaced(self, line: Any, place: Any, lanes: int) -> Any:
        """Bytes a stride apart; a wider load brings those between them too."""
        stride = self.shape.strides[1]
        if stride == 1 or lanes == 1:
            return load(line, place, lanes)
        run = load(line, place, lanes * stride)
        words = tir.reinterpret(kind(f"uint{8 * stride}", lanes), run)
        return tir.Cast(kind(str(line.dtype), lanes), words)
