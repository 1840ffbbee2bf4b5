"""The shape of a convolution, and how its input is laid out for dot products of words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgeweave.schedules.int8.dot import DotUnit

# Taps in a word save operations, and cost more words of input.
_WORTH_TAPS = 1.25


@dataclass(frozen=True)
class ConvShape:
    """A two-dimensional convolution, ONNX's attributes spelled out; pairs are (rows, columns).

    ``pads`` are (top, left, bottom, right), ``filters`` the output channels of all groups.
    """

    batch: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    group: int = 1

    @property
    def out_height(self) -> int:
        """Rows of the result."""
        return self._out(self.height + self.pads[0] + self.pads[2], 0)

    @property
    def out_width(self) -> int:
        """Columns of the result."""
        return self._out(self.width + self.pads[1] + self.pads[3], 1)

    def _out(self, padded: int, axis: int) -> int:
        reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        return (padded - reach) // self.strides[axis] + 1

    @property
    def channels_of_group(self) -> int:
        """Input channels that one filter reads."""
        return self.channels // self.group

    @property
    def filters_of_group(self) -> int:
        """Output channels of one group."""
        return self.filters // self.group


@dataclass(frozen=True)
class Tap:
    """One step along a kernel's row: words of a plane, ``shift`` columns further right."""

    plane: int
    shift: int


@dataclass(frozen=True)
class Layout:
    """Where the words of a convolution's input stand.

    A word holds consecutive channels of one pixel, or where channels are few, the pixels that
    consecutive taps of a kernel's row read. Every ``step`` (a group of channels, or a channel) has
    ``planes``: for each the input column, relative to that of the first output, that each value
    of its first word comes from. In a plane neighbouring words are a stride of columns apart, and
    rows are sorted by their remainder by the stride.
    """

    shape: ConvShape
    depth: int

    @cached_property
    def of_taps(self) -> bool:
        """Whether a word holds pixels of one channel instead of channels of one pixel."""
        (_, taps), channels = self.shape.kernel, self.shape.channels_of_group
        by_channels = -(-channels // self.depth) * taps
        by_taps = channels * -(-taps // self.depth)
        return by_taps * _WORTH_TAPS <= by_channels

    @property
    def steps(self) -> int:
        """Times that the planes are repeated for one group."""
        channels = self.shape.channels_of_group
        return channels if self.of_taps else -(-channels // self.depth)

    @cached_property
    def planes(self) -> tuple[tuple[int, ...], ...]:
        """For each plane the column of each value of a word."""
        taps, stride, dilation = (
            self.shape.kernel[1],
            self.shape.strides[1],
            self.shape.dilations[1],
        )
        if self.of_taps:
            return tuple(
                tuple(min(first + value, taps - 1) * dilation for value in range(self.depth))
                for first in range(0, taps, self.depth)
            )
        phases = sorted({tap * dilation % stride for tap in range(taps)})
        return tuple((phase,) * self.depth for phase in phases)

    @cached_property
    def taps(self) -> tuple[Tap, ...]:
        """What is read for one row of a kernel."""
        if self.of_taps:
            return tuple(Tap(plane, 0) for plane in range(len(self.planes)))
        stride, dilation = self.shape.strides[1], self.shape.dilations[1]
        places = {columns[0]: place for place, columns in enumerate(self.planes)}
        reads = [tap * dilation for tap in range(self.shape.kernel[1])]
        return tuple(Tap(places[read % stride], read // stride) for read in reads)

    @property
    def halo(self) -> int:
        """Words of a row beyond one per output column."""
        return max(tap.shift for tap in self.taps)

    @property
    def row_phases(self) -> int:
        """Remainders of rows by the stride that are stored."""
        rows, stride = range(self.shape.kernel[0]), self.shape.strides[0]
        return max(row * self.shape.dilations[0] % stride for row in rows) + 1

    def stored_rows(self, rows: int) -> int:
        """Rows stored for each remainder, for a block of ``rows`` output rows."""
        reach = (self.shape.kernel[0] - 1) * self.shape.dilations[0] // self.shape.strides[0]
        return rows + reach

    def words(self, rows: int, pitch: int) -> int:
        """Words of one group for a block of output rows."""
        stored = self.row_phases * self.stored_rows(rows)
        return self.steps * len(self.planes) * stored * pitch

    def arrange(self, weights: np.ndarray, unit: DotUnit) -> np.ndarray:
        """Weights [filters, channels, rows, taps] of int8 as words [filters, steps, rows, taps]."""
        filters, channels, rows, taps = weights.shape
        if self.of_taps:
            wide = np.zeros((filters, channels, rows, len(self.planes) * self.depth), weights.dtype)
            wide[..., :taps] = weights
            return unit.weight_words(wide.reshape(filters, channels, rows, -1, self.depth))
        wide = np.zeros((filters, self.steps * self.depth, rows, taps), weights.dtype)
        wide[:, :channels] = weights
        grouped = wide.reshape(filters, self.steps, self.depth, rows, taps)
        return unit.weight_words(np.moveaxis(grouped, 2, -1))
