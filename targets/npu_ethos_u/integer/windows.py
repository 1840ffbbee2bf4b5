"""Windows that slide over a feature map: padding, output sizes, and the window's taps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import Call
from edgeweave.targets.npu_ethos_u.integer.fixed_point import Integers
from edgeweave.targets.npu_ethos_u.integer.model import Array

_SAME = 0


@dataclass(frozen=True)
class Axis:
    """One axis of a sliding window: sizes in elements, ``before`` is the padding at its begin."""

    size: int
    kernel: int
    stride: int
    dilation: int
    output: int
    before: int

    @property
    def after(self) -> int:
        """Padding at the end, so that every window lies inside."""
        return max(0, (self.output - 1) * self.stride + self.span - self.size - self.before)

    @property
    def span(self) -> int:
        """Elements from the first tap of a window to its last."""
        return (self.kernel - 1) * self.dilation + 1

    def counts(self) -> Integers:
        """How many taps of each window lie inside of the feature map."""
        first = np.arange(self.output)[:, None] * self.stride - self.before
        taps = first + np.arange(self.kernel) * self.dilation
        inside: Integers = ((taps >= 0) & (taps < self.size)).sum(axis=1, dtype=np.int64)
        return inside


def make_axis(size: int, kernel: int, stride: int, dilation: int, padding: int) -> Axis:
    """An axis with TensorFlow's padding: SAME (0) with its odd element at the end, or VALID."""
    span = (kernel - 1) * dilation + 1
    if padding == _SAME:
        output = -(-size // stride)
        before = max(0, (output - 1) * stride + span - size) // 2
    else:
        output, before = (size + stride - span) // stride, 0
    return Axis(size, kernel, stride, dilation, output, before)


def make_axes(call: Call, kernel: tuple[int, int]) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a convolution or a pool over its first input."""
    options, (_, height, width, _) = call.options, call.value(0).shape
    down, across = options.get("dilationHFactor", 1), options.get("dilationWFactor", 1)
    axes = (
        make_axis(height, kernel[0], options["strideH"], down, options["padding"]),
        make_axis(width, kernel[1], options["strideW"], across, options["padding"]),
    )
    if min(axis.output for axis in axes) < 1:
        raise call.refused(f"its window {kernel} is larger than its input")
    return axes


def pad_axes(values: Array, axes: tuple[Axis, Axis], filler: int) -> Array:
    """A feature map (N, H, W, C) with the padding that its windows reach into."""
    pads = [(0, 0), *((axis.before, axis.after) for axis in axes), (0, 0)]
    if not any(map(any, pads)):
        return values
    return np.pad(values, pads, constant_values=filler)


def taps(padded: Array, axes: tuple[Axis, Axis]) -> Iterator[tuple[int, int, Array]]:
    """Row and column of every tap of the window, and the (N, OH, OW, C) values it meets."""
    rows, columns = axes
    for y in range(rows.kernel):
        top = y * rows.dilation
        for x in range(columns.kernel):
            left = x * columns.dilation
            bottom = top + (rows.output - 1) * rows.stride + 1
            right = left + (columns.output - 1) * columns.stride + 1
            yield y, x, padded[:, top : bottom : rows.stride, left : right : columns.stride]
