"""Products of matrices of 8-bit integers as one kernel; vectors run along the result's columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from tvm.script.ir_builder import IRBuilder
from tvm.tirx import PrimFunc
from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.dot import SIGN, DotUnit
from edgeweave.schedules.int8.emit import flat, kind, many, root
from edgeweave.schedules.int8.matmul_code import MORE_SETTINGS, MatmulCode
from edgeweave.schedules.int8.round import SETTINGS
from edgeweave.schedules.int8.tile import WORTH_THREADS

Side = Literal["left", "right", "none"]
_BLOCK_BYTES = 192 * 1024  # packed right-hand side that stays near a core
_ROWS_BYTES = 64 * 1024  # packed left-hand side beside it
_LATENCY = 5
_MOST_ROWS, _MOST_VECTORS = 16, 6


@dataclass(frozen=True)
class MatmulShape:
    """``batch`` products of [rows, inner] and [inner, columns]."""

    batch: int
    rows: int
    inner: int
    columns: int


@dataclass(frozen=True)
class MatmulTile:
    """What a task computes: ``rows`` of ``runs`` of columns, ``row_sums`` rows of one at a time.

    A run is of ``vectors`` vectors; ``shared`` says whether there are threads but the caller's.
    """

    rows: int
    runs: int
    row_sums: int
    vectors: int
    shared: bool = True


@dataclass(frozen=True)
class MatmulKernel:
    """How a product is computed on one kind of CPU. ``weights`` says which side is constant.

    The kernel's parameters are the left side, the right side (the constant one as ``pack`` gives
    it), an int32 bias and a float32 scale for each of ``shape.columns`` where the right side is
    constant, else for each of ``shape.rows``, the settings, and the result. The settings are those
    of ``round``, for the right side, or for the left one where the right is constant, and then
    the left side's pad and offset, and the stored zero points of left and right.
    """

    shape: MatmulShape
    unit: DotUnit
    tile: MatmulTile
    weights: Side
    dtypes: tuple[str, str]
    y_dtype: str

    @classmethod
    def choose(
        cls,
        shape: MatmulShape,
        unit: DotUnit,
        cores: int,
        weights: Side,
        dtypes: tuple[str, str],
        y_dtype: str,
    ) -> MatmulKernel:
        """The kernel with the tile of least estimated time."""
        tile = replace(_best(shape, unit, 1), shared=False)
        if cores > 1 and _cycles(shape, tile, unit, 1) > WORTH_THREADS:
            tile = _best(shape, unit, cores)
        return cls(shape, unit, tile, weights, dtypes, y_dtype)

    @property
    def steps(self) -> int:
        """Words of the inner axis."""
        return -(-self.shape.inner // self.unit.depth)

    @property
    def run(self) -> int:
        """Columns computed at once."""
        return self.tile.vectors * self.unit.lanes

    @property
    def padded_columns(self) -> int:
        """Columns that bias, scale and weights cover where the right side is constant."""
        return max(self.shape.columns, self.run)

    @property
    def runs(self) -> int:
        """Runs of columns; the last overlaps the one before where they do not divide."""
        return -(-self.padded_columns // self.run)

    @property
    def left_flip(self) -> int:
        """What a byte of the left side is combined with by exclusive or."""
        if self.unit.depth == 4 and self.weights == "none":
            return SIGN if self.dtypes[0] == "uint8" else 0  # the signed operand here
        return self.unit.flip(self.dtypes[0])

    def left_value(self, byte: Any, offset: Any) -> Any:
        """One value of the left side as it is stored, in the low bits of an int32."""
        flipped = byte ^ tir.int32(self.left_flip)
        return flipped if self.unit.depth == 4 else flipped - offset

    def left_words(self, run: Any, offset: Any, lanes: int) -> Any:
        """A vector of words of consecutive bytes of the left side."""
        depth = self.unit.depth
        flipped = run ^ many(tir.uint8(self.left_flip), lanes * depth) if self.left_flip else run
        if depth == 4:
            return tir.reinterpret(kind("int32", lanes), flipped)
        values = tir.Cast(kind("int16", lanes * depth), flipped)
        centred = values - many(tir.Cast("int16", offset), lanes * depth)
        return centred if depth == 1 else tir.reinterpret(kind("int32", lanes), centred)

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """The constant side, int8 of [rows, inner] or [inner, columns], as the kernel reads it."""
        depth, steps = self.unit.depth, self.steps
        by_inner = weights.T if self.weights == "right" else weights
        wide = np.zeros((len(by_inner), steps * depth), np.int8)
        wide[:, : self.shape.inner] = by_inner
        words = self.unit.weight_words(wide.reshape(len(wide), steps, depth))
        if self.weights == "left":
            return words.reshape(-1)
        padded = np.zeros((self.padded_columns, steps), words.dtype)
        padded[: len(words)] = words
        count = -(-self.padded_columns // self.run)
        starts = [min(n * self.run, self.padded_columns - self.run) for n in range(count)]
        tiles = [padded[start : start + self.run].T for start in starts]
        return np.ascontiguousarray(np.stack(tiles)).reshape(-1)

    def function(
        self, left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...]
    ) -> PrimFunc:
        """The kernel as a scheduled function; the shapes are those of what is no constant."""
        unit, (a_dtype, b_dtype) = self.unit, self.dtypes
        per = self.padded_columns if self.weights == "right" else self.shape.rows
        if self.weights == "left":
            left, a_dtype = (self.shape.rows * self.steps,), unit.word
        if self.weights == "right":
            tiles = -(-self.padded_columns // self.run)
            right, b_dtype = (tiles * self.run * self.steps,), unit.word
        with IRBuilder() as builder:
            with tir.prim_func(s_tir=True):
                tir.func_name("int8_matmul")
                tir.func_attr({"tirx.noalias": True})
                a = tir.arg("a", tir.buffer(left, a_dtype))
                b = tir.arg("b", tir.buffer(right, b_dtype))
                bias = tir.arg("bias", tir.buffer((per,), "int32"))
                scale = tir.arg("scale", tir.buffer((per,), "float32"))
                numbers = tir.arg("settings", tir.buffer((SETTINGS + MORE_SETTINGS,), "int32"))
                y = tir.arg("y", tir.buffer(result, self.y_dtype))
                with root():
                    a = a if self.weights == "left" else flat(a, "uint8")
                    b = b if self.weights == "right" else flat(b, "uint8")
                    MatmulCode(self, a, b, bias, scale, numbers, flat(y)).emit()
            return builder.get()


def _best(shape: MatmulShape, unit: DotUnit, cores: int) -> MatmulTile:
    return min(_tiles(shape, unit, cores), key=lambda tile: _cycles(shape, tile, unit, cores))


def _tiles(shape: MatmulShape, unit: DotUnit, cores: int) -> Iterator[MatmulTile]:
    steps = -(-shape.inner // unit.depth)
    tasks = -(-2 * cores // shape.batch) if cores > 1 else 1
    rows = min(shape.rows, max(1, _ROWS_BYTES // (steps * unit.word_bytes)))
    for row_sums in range(1, min(rows, _MOST_ROWS) + 1):
        for vectors in range(1, _MOST_VECTORS + 1):
            run = vectors * unit.lanes
            if row_sums * vectors + vectors + 3 > unit.registers:
                break
            if vectors > 1 and run > shape.columns:
                break
            runs = -(-max(shape.columns, run) // run)
            most = max(1, _BLOCK_BYTES // (steps * unit.word_bytes * run))
            of_task = min(most, -(-runs // tasks))
            blocks = -(-runs // of_task)
            share = max(row_sums, -(-shape.rows // max(1, tasks // blocks)))
            yield MatmulTile(min(rows, share), of_task, row_sums, vectors)


def _cycles(shape: MatmulShape, tile: MatmulTile, unit: DotUnit, cores: int) -> float:
    """Estimated cycles of the whole product."""
    steps = -(-shape.inner // unit.depth)
    run = tile.vectors * unit.lanes
    sums = tile.row_sums * tile.vectors
    step = max(sums / unit.rate, (tile.row_sums + tile.vectors) / 2, _LATENCY)
    places = -(-tile.rows // tile.row_sums) * tile.runs
    pack = steps * (tile.runs * run / 2 + tile.rows / 8)
    runs = -(-max(shape.columns, run) // run)
    blocks = -(-runs // tile.runs)
    tasks = shape.batch * -(-shape.rows // tile.rows) * blocks
    return -(-tasks // cores) * (places * (steps * step + sums * 5 + 10) + pack + 200)
