"""Convolutions of 8-bit integers as one kernel: lay out, multiply and add, round.

Vectors run along the columns of the result, so that input and result stay as ONNX has them
(channels before rows and columns) and a weight is one word for all lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm.script.ir_builder import IRBuilder
from tvm.tirx import PrimFunc
from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.conv_code import ConvCode
from edgeweave.schedules.int8.dot import DotUnit
from edgeweave.schedules.int8.emit import flat, root
from edgeweave.schedules.int8.round import SETTINGS
from edgeweave.schedules.int8.shape import ConvShape, Layout
from edgeweave.schedules.int8.tile import ConvTile, choose_tile


@dataclass(frozen=True)
class ConvKernel:
    """How a convolution is computed on one kind of CPU, for activations of given types.

    With ``spread`` (rows, columns) the filters are (channel, row, column) of the pixels that each
    pixel becomes, as in a transposed convolution of that kernel and stride.
    The function's parameters are the input, the words of ``pack``, an int32 bias and a float32
    scale per filter, the settings of ``round``, and the result.
    """

    shape: ConvShape
    unit: DotUnit
    tile: ConvTile
    x_dtype: str
    y_dtype: str
    spread: tuple[int, int] | None = None

    @classmethod
    def choose(
        cls,
        shape: ConvShape,
        unit: DotUnit,
        cores: int,
        dtypes: tuple[str, str],
        spread: tuple[int, int] | None = None,
    ) -> ConvKernel | None:
        """The kernel with the tile that suits the shape, for types of input and result.

        None where ``spread`` is asked for and rows are shorter than a vector.
        """
        tile = choose_tile(Layout(shape, unit.depth), unit, cores, spread[1] if spread else 0)
        return None if tile is None else cls(shape, unit, tile, *dtypes, spread)

    @property
    def layout(self) -> Layout:
        """How the input is laid out."""
        return Layout(self.shape, self.unit.depth)

    @property
    def filter_tiles(self) -> int:
        """Tiles of filters in a group; the last may overlap the one before."""
        return -(-self.shape.filters_of_group // self.tile.filters)

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """Weights [filters, channels, rows, columns] of int8 in the order the kernel reads them."""
        words = self.layout.arrange(weights, self.unit)
        grouped = words.reshape(self.shape.group, self.shape.filters_of_group, -1)
        tiles = [
            grouped[:, first : first + self.tile.filters]
            for first in (self.first_filter(tile) for tile in range(self.filter_tiles))
        ]
        return np.ascontiguousarray(np.stack(tiles, 1).swapaxes(-1, -2)).reshape(-1)

    def first_filter(self, tile: int) -> int:
        """The first filter of a tile."""
        last = self.shape.filters_of_group - self.tile.filters
        return min(tile * self.tile.filters, last)

    def function(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> PrimFunc:
        """The kernel as a scheduled function of tensors of these shapes."""
        shape = self.shape
        words = self.filter_tiles * self.tile.filters * shape.group * self._words_of_filter
        with IRBuilder() as builder:
            with tir.prim_func(s_tir=True):
                tir.func_name("int8_conv")
                tir.func_attr({"tirx.noalias": True})
                x = tir.arg("x", tir.buffer(x_shape, self.x_dtype))
                weights = tir.arg("weights", tir.buffer((words,), self.unit.word))
                bias = tir.arg("bias", tir.buffer((shape.filters,), "int32"))
                scale = tir.arg("scale", tir.buffer((shape.filters,), "float32"))
                numbers = tir.arg("settings", tir.buffer((SETTINGS,), "int32"))
                y = tir.arg("y", tir.buffer(y_shape, self.y_dtype))
                with root():
                    ConvCode(self, flat(x, "uint8"), weights, bias, scale, numbers, flat(y)).emit()
            return builder.get()

    @property
    def _words_of_filter(self) -> int:
        layout = self.layout
        return layout.steps * self.shape.kernel[0] * len(layout.taps)
