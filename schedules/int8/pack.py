"""Code that lays a convolution's input out in words, with the padding around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.dot import DotUnit
from edgeweave.schedules.int8.emit import kind, many
from edgeweave.schedules.int8.shape import Layout

_VECTORS = (16, 8, 4)  # words stored at once, the first that a row has
_WIDE_LOADS = (1, 2, 4)  # strides of columns that one load covers


@dataclass(frozen=True)
class Source:
    """The activations as a buffer of bytes, and what its bytes become.

    ``pad`` is a word of zeros, ``offset`` what storing in 16 bits subtracts: int32 expressions.
    """

    bytes_: Any
    dtype: str
    unit: DotUnit
    pad: Any
    offset: Any

    def word(self, values: Sequence[Any], lanes: int) -> Any:
        """A vector of words of the vectors of bytes, given as uint32."""
        unit, flip = self.unit, self.unit.flip(self.dtype)
        if unit.depth == 4:
            joined = values[0]
            for place, value in enumerate(values[1:], 1):
                joined = joined | (value << many(tir.uint32(8 * place), lanes))
            if flip:
                joined = joined ^ many(tir.uint32(flip * 0x01010101), lanes)
            return _as_int32(joined, lanes)
        centred = []
        for value in values:
            flipped = value ^ many(tir.uint32(flip), lanes) if flip else value
            centred.append(_as_int32(flipped, lanes) - many(self.offset, lanes))
        if unit.depth == 1:
            return tir.Cast(kind("int16", lanes), centred[0])
        low = centred[0] & many(tir.int32(0xFFFF), lanes)
        return low | (centred[1] << many(tir.int32(16), lanes))


@dataclass(frozen=True)
class Block:
    """The part of the input that one task reads: an image, a group and the first output row."""

    image: Any
    group: Any
    first_row: Any
    rows: int
    pitch: int


def emit_pack(source: Source, words: Any, layout: Layout, block: Block) -> None:
    """Emit code that fills ``words`` for a block: [steps, planes, row phases, rows, pitch]."""
    shape = layout.shape
    stored = layout.row_phases * layout.stored_rows(block.rows)
    with tir.serial(0, layout.steps) as step:
        first = step * (1 if layout.of_taps else layout.depth)
        channels = [
            first if layout.of_taps else tir.min(first + value, shape.channels_of_group - 1)
            for value in range(layout.depth)
        ]
        images = block.image * shape.channels + block.group * shape.channels_of_group
        with tir.serial(0, stored) as row:
            line = tir.bind(_input_row(layout, block, row))
            starts = [
                tir.bind(((images + channel) * shape.height + line) * shape.width)
                for channel in (channels[:1] if layout.of_taps else channels)
            ] * (layout.depth if layout.of_taps else 1)
            for place, columns in enumerate(layout.planes):
                plane = step * len(layout.planes) + place
                target = tir.bind((plane * stored + row) * block.pitch)
                inside = tir.And(line >= 0, line < shape.height)
                with tir.If(inside):
                    with tir.Then():
                        _emit_row(source, words, layout, starts, columns, target, block.pitch)
                    with tir.Else():
                        _emit_fill(source, words, target, 0, block.pitch)


def _input_row(layout: Layout, block: Block, row: Any) -> Any:
    """The input row that a stored row holds; outside of the image it is padding."""
    shape = layout.shape
    if layout.row_phases == 1:
        return (block.first_row + row) * shape.strides[0] - shape.pads[0]
    stored = layout.stored_rows(block.rows)
    place, phase = tir.floormod(row, stored), tir.floordiv(row, stored)
    return (block.first_row + place) * shape.strides[0] + phase - shape.pads[0]


def _emit_row(
    source: Source,
    words: Any,
    layout: Layout,
    starts: Sequence[Any],
    columns: Sequence[int],
    target: Any,
    pitch: int,
) -> None:
    """Emit one row of a plane: its middle in vectors, what is left and right of it word by word."""
    shape = layout.shape
    stride, left = shape.strides[1], shape.pads[1]
    reach = stride - 1 if stride in _WIDE_LOADS else 0
    low = max(-(-(left - column) // stride) for column in columns)
    high = min((shape.width - 1 - reach + left - column) // stride for column in columns) + 1
    low, high = min(max(low, 0), pitch), min(max(high, 0), pitch)
    lanes = next((size for size in _VECTORS if size <= high - low), 0)
    if not lanes or stride not in _WIDE_LOADS:
        low = high = pitch
    else:
        with tir.serial(0, -(-(high - low) // lanes)) as part:
            place = tir.bind(low + tir.min(part * lanes, high - low - lanes))
            values = [
                load_bytes(source, start + place * stride + (column - left), stride, lanes)
                for start, column in zip(starts, columns, strict=True)
            ]
            vector = source.word(values, lanes)
            tir.buffer_store(words, vector, [tir.ramp(target + place, 1, lanes)])
    for begin, end in ((0, low), (high, pitch)):
        _emit_edge(source, words, layout, starts, columns, target, (begin, end))


def load_bytes(source: Source, place: Any, stride: int, lanes: int) -> Any:
    """Bytes a stride of columns apart, as a vector of uint32."""
    if stride == 1:
        return tir.Cast(f"uint32x{lanes}", source.bytes_.vload([place], f"uint8x{lanes}"))
    # a wider load brings the bytes between them too; the lowest of each is ours
    run = source.bytes_.vload([place], f"uint8x{stride * lanes}")
    together = tir.Cast(f"uint32x{lanes}", tir.reinterpret(f"uint{8 * stride}x{lanes}", run))
    return together & many(tir.uint32(0xFF), lanes)


def _emit_edge(
    source: Source,
    words: Any,
    layout: Layout,
    starts: Sequence[Any],
    columns: Sequence[int],
    target: Any,
    span: tuple[int, int],
) -> None:
    """Emit words that hold padding, some or all of them."""
    shape = layout.shape
    stride, left = shape.strides[1], shape.pads[1]
    begin, end = span
    if begin >= end:
        return
    first = min(begin * stride + column - left for column in columns)
    last = max((end - 1) * stride + column - left for column in columns)
    if last < 0 or first >= shape.width:
        _emit_fill(source, words, target, begin, end)
        return
    with tir.serial(begin, end) as place:
        values = []
        for start, column in zip(starts, columns, strict=True):
            at = place * stride + (column - left)
            inside = tir.And(at >= 0, at < shape.width)
            byte = tir.Cast("uint32", source.bytes_[start + at])
            values.append(tir.if_then_else(inside, byte, _zero_byte(source)))
        tir.buffer_store(words, source.word(values, 1), [target + place])


def _zero_byte(source: Source) -> Any:
    """The byte of the input that stands for zero."""
    flip = source.unit.flip(source.dtype)
    stored = source.pad & tir.int32(0xFF) if source.unit.depth == 4 else source.offset
    byte = tir.Cast("uint32", stored)
    return byte ^ tir.uint32(flip) if flip else byte


def _emit_fill(source: Source, words: Any, target: Any, begin: int, end: int) -> None:
    pad = tir.Cast(source.unit.word, source.pad)
    with tir.serial(begin, end) as place:
        tir.buffer_store(words, pad, [target + place])


def _as_int32(value: Any, lanes: int) -> Any:
    return tir.reinterpret(kind("int32", lanes), value)
