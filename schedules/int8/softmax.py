"""Softmax of bytes along rows as one kernel, in float32 between reading and rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial, log
from typing import Any

from tvm.script.ir_builder import IRBuilder
from tvm.tirx import PrimFunc
from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.emit import (
    SHARED,
    cover,
    flat,
    kind,
    load,
    loop,
    many,
    root,
    runs,
    store,
)
from edgeweave.schedules.int8.round import MAGIC, MAGIC_BITS, SETTINGS, Rounding

FACTORS = 2  # numbers in the buffer of factors
LOG2_E = 1 / log(2)
_LANES = 16
_BYTES = (64, 32, 16, 8, 4, 2, 1)  # compared at once, the first that a row has
_LEAST_EXPONENT = -126.0
_TERMS = 7  # of the series of 2**x for x in [-0.5, 0.5]: exact to 1e-7


def softmax(
    rows: int, columns: int, dtypes: tuple[str, str], shapes: Sequence[tuple[int, ...]]
) -> PrimFunc:
    """The scheduled function of input, factors, settings of ``round`` and result.

    The factors are the input's scale times log2(e), negated, and the reciprocal of the result's
    scale; ``shapes`` are those of input and result.
    """
    with IRBuilder() as builder:
        with tir.prim_func(s_tir=True):
            tir.func_name("int8_softmax")
            tir.func_attr({"tirx.noalias": True})
            x = tir.arg("x", tir.buffer(shapes[0], dtypes[0]))
            factors = tir.arg("factors", tir.buffer((FACTORS,), "float32"))
            numbers = tir.arg("settings", tir.buffer((SETTINGS,), "int32"))
            y = tir.arg("y", tir.buffer(shapes[1], dtypes[1]))
            with root():
                _Softmax(rows, columns, dtypes, flat(x), factors, numbers, flat(y)).emit()
        return builder.get()


@dataclass(frozen=True)
class _Softmax:
    rows: int
    columns: int
    dtypes: tuple[str, str]
    x: Any
    factors: Any
    numbers: Any
    y: Any

    def emit(self) -> None:
        """Each row: its largest byte, the powers of differences to it, their sum, the results."""
        dtype = self.dtypes[1]
        with loop(self.rows, shared=self.rows * self.columns > SHARED) as row:
            rounding = Rounding.bind(self.numbers)
            start = tir.bind(row * self.columns)
            line = tir.alloc_buffer((-(-self.columns // _LANES) * _LANES,), "float32")
            self._powers(line, start, self._largest(start))
            factor = tir.bind(self.factors[1] / self._sum(line))
            for lanes, place in self._runs():
                value = rounding.scale(load(line, place, lanes), many(factor, lanes), lanes, dtype)
                store(self.y, value, start + place, lanes)

    def _runs(self) -> Any:
        """Vectors that cover a row once: a loop of long ones, and what is left."""
        whole = self.columns // _LANES
        if whole:
            with loop(whole) as part:
                yield _LANES, part * _LANES
        for lanes, place in runs(self.columns % _LANES):
            yield lanes, tir.int32(whole * _LANES + place)

    def _largest(self, start: Any) -> Any:
        """The largest byte of a row, as int32."""
        lanes = next(size for size in _BYTES if size <= self.columns)
        some = tir.alloc_buffer((lanes,), self.dtypes[0])
        store(some, load(self.x, start, lanes), 0, lanes)
        with loop(-(-self.columns // lanes)) as part:
            place = start + cover(part, lanes, self.columns)
            store(some, tir.max(load(some, 0, lanes), load(self.x, place, lanes)), 0, lanes)
        largest = tir.alloc_buffer((1,), "int32")
        tir.buffer_store(largest, tir.Cast("int32", some[0]), [0])
        with loop(lanes) as lane:
            one = tir.Cast("int32", some[lane])
            tir.buffer_store(largest, tir.max(largest[0], one), [0])
        return tir.bind(largest[0])

    def _powers(self, line: Any, start: Any, largest: Any) -> None:
        """Write e to the power of each difference, and zeros behind them."""
        if self.columns % _LANES:
            last = self.columns // _LANES * _LANES
            store(line, many(tir.float32(0), _LANES), last, _LANES)
        for lanes, place in self._runs():
            bytes_ = load(self.x, start + place, lanes)
            steps = tir.Cast(kind("int32", lanes), bytes_) - many(largest, lanes)
            power = tir.Cast(kind("float32", lanes), steps) * many(self.factors[0], lanes)
            store(line, _exp2(power, lanes), place, lanes)

    def _sum(self, line: Any) -> Any:
        sums = tir.alloc_buffer((_LANES,), "float32")
        store(sums, many(tir.float32(0), _LANES), 0, _LANES)
        with loop(-(-self.columns // _LANES)) as part:
            total = load(sums, 0, _LANES) + load(line, part * _LANES, _LANES)
            store(sums, total, 0, _LANES)
        result = sums[0]
        for lane in range(1, min(_LANES, self.columns)):
            result = result + sums[lane]
        return result


def _exp2(power: Any, lanes: int) -> Any:
    """2 to the power of numbers up to 0, as a vector of float32."""

    def each(value: float) -> Any:
        return many(tir.float32(value), lanes)

    bounded = tir.bind(tir.max(power, each(_LEAST_EXPONENT)))
    bits = kind("int32", lanes)
    # as an integer, for LLVM would take a number that is added and subtracted for nothing
    whole = tir.reinterpret(bits, bounded + each(MAGIC)) - many(tir.int32(MAGIC_BITS), lanes)
    whole = tir.bind(whole)
    rest = tir.bind(bounded - tir.Cast(kind("float32", lanes), whole))
    series = each(0.0)
    for term in reversed(range(_TERMS)):
        series = series * rest + each(log(2) ** term / factorial(term))
    exponent = whole << many(tir.int32(23), lanes)
    return tir.reinterpret(kind("float32", lanes), tir.reinterpret(bits, series) + exponent)
