"""Operators that move integers equal LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate

_SHAPE = (1, 6, 8, 5)


def test_concatenation(compare: Any) -> None:
    def build(draft: Any) -> None:
        quantisation, axis = draft.quantisation(), draft.integer(1, 3)
        shapes = [[*_SHAPE] for _ in range(draft.integer(1, 4))]
        for shape in shapes:
            shape[axis] = draft.integer(1, 5)
        inputs = [draft.input(shape, quantisation) for shape in shapes]
        out = [*_SHAPE]
        out[axis] = sum(shape[axis] for shape in shapes)
        y = draft.output(out, quantisation)
        named = axis if draft.integer(0, 1) else axis - 4
        draft.add("CONCATENATION", inputs, [y], "ConcatenationOptions", axis=named)

    compare(build)


def test_a_concatenation_of_unequal_scales_is_refused(draft: Any) -> None:
    inputs = [draft.input(_SHAPE, (0.5, 0)), draft.input(_SHAPE, (0.25, 0))]
    y = draft.output((1, 6, 8, 10), (0.5, 0))
    draft.add("CONCATENATION", inputs, [y], "ConcatenationOptions", axis=3)
    with pytest.raises(TargetError, match="x1 has another quantisation"):
        evaluate(draft.finish(), draft.values)


def test_split(compare: Any) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        x = draft.input((1, 6, 8, 6), quantisation)
        outputs = [draft.output((1, 6, 8, 2), quantisation) for _ in range(3)]
        draft.add("SPLIT", [draft.integers(3), x], outputs, "SplitOptions", numSplits=3)

    compare(build)


def test_split_v(compare: Any) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        x = draft.input(_SHAPE, quantisation)
        outputs = [draft.output((1, 6, 8, size), quantisation) for size in (2, 1, 2)]
        sizes = draft.integers([2, -1, 2] if draft.integer(0, 1) else [2, 1, 2])
        inputs = [x, sizes, draft.integers(3)]
        draft.add("SPLIT_V", inputs, outputs, "SplitVOptions", numSplits=3)

    compare(build)


def test_slice(compare: Any) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        begin = [draft.integer(0, size - 1) for size in _SHAPE]
        size = [draft.integer(1, n - b) for n, b in zip(_SHAPE, begin, strict=True)]
        named = [-1 if b + s == n else s for n, b, s in zip(_SHAPE, begin, size, strict=True)]
        inputs = [draft.input(_SHAPE, quantisation), draft.integers(begin), draft.integers(named)]
        draft.add("SLICE", inputs, [draft.output(size, quantisation)], "SliceOptions")

    compare(build)


def test_strided_slice(compare: Any) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        begin = [0, draft.integer(0, 2), draft.integer(-8, 2), draft.integer(0, 1)]
        end = [1, draft.integer(3, 6), draft.integer(4, 9), draft.integer(2, 5)]
        stride = [1, draft.integer(1, 3), draft.integer(1, 3), draft.integer(1, 2)]
        masks = {"beginMask": draft.integer(0, 15), "endMask": draft.integer(0, 15)}
        masks["shrinkAxisMask"] = draft.integer(0, 1)
        if masks["shrinkAxisMask"]:
            begin[0] = 0
        taken = np.zeros(_SHAPE)[
            tuple(
                slice(
                    None if masks["beginMask"] >> k & 1 else begin[k],
                    None if masks["endMask"] >> k & 1 else end[k],
                    stride[k],
                )
                for k in range(4)
            )
        ]
        out = taken.shape[1:] if masks["shrinkAxisMask"] else taken.shape
        x = draft.input(_SHAPE, quantisation)
        inputs = [x, *(draft.integers(v) for v in (begin, end, stride))]
        y = draft.output(out, quantisation)
        draft.add("STRIDED_SLICE", inputs, [y], "StridedSliceOptions", **masks)

    compare(build, 40)


def test_a_strided_slice_with_a_new_axis_is_refused(draft: Any) -> None:
    x, y = draft.input((3,)), draft.output((1, 3))
    inputs = [x, *(draft.integers([value]) for value in (0, 3, 1))]
    draft.add("STRIDED_SLICE", inputs, [y], "StridedSliceOptions", newAxisMask=1)
    with pytest.raises(TargetError, match="its newAxisMask is not known here"):
        evaluate(draft.finish(), draft.values)


@pytest.mark.parametrize("code", ["PAD", "PADV2"])
def test_pad(compare: Any, code: str) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        pads = [[0, 0], *([draft.integer(0, 3), draft.integer(0, 3)] for _ in range(3))]
        out = [size + sum(pair) for size, pair in zip(_SHAPE, pads, strict=True)]
        inputs = [draft.input(_SHAPE, quantisation), draft.integers(pads)]
        if code == "PADV2":
            data = np.array([draft.integer(-128, 127)], np.int8)
            scale, zero_point = quantisation
            inputs.append(draft.writer.constant("c", data, [scale], zero_point))
        options = "PadOptions" if code == "PAD" else "PadV2Options"
        draft.add(code, inputs, [draft.output(out, quantisation)], options)

    compare(build)


def test_mirror_pad(compare: Any) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        pads = [[0, 0], [2, 1], [draft.integer(0, 4), 3], [0, 0]]
        out = [size + sum(pair) for size, pair in zip(_SHAPE, pads, strict=True)]
        inputs = [draft.input(_SHAPE, quantisation), draft.integers(pads)]
        y = draft.output(out, quantisation)
        draft.add("MIRROR_PAD", inputs, [y], "MirrorPadOptions", mode=draft.integer(0, 1))

    compare(build)


def test_reshape_and_transpose(compare: Any) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        order = [int(axis) for axis in draft.random.permutation(4)]
        x = draft.input(_SHAPE, quantisation)
        moved = draft.output([_SHAPE[axis] for axis in order], quantisation)
        flat = draft.output((2, 120), quantisation)
        draft.add("TRANSPOSE", [x, draft.integers(order)], [moved], "TransposeOptions")
        draft.add("RESHAPE", [moved, draft.integers([2, 120])], [flat], "ReshapeOptions", 1)

    compare(build)


def test_squeeze_expand_pack_unpack_tile(compare: Any) -> None:
    def build(draft: Any) -> None:
        q = draft.quantisation()
        x = draft.input((1, 4, 3), q)
        squeezed, wide = draft.output((4, 3), q), draft.output((4, 1, 3), q)
        packed, parts = draft.output((4, 2, 3), q), [draft.output((4, 2), q) for _ in range(3)]
        tiled = draft.output((8, 1, 9), q)
        draft.add("SQUEEZE", [x], [squeezed], "SqueezeOptions", 1, squeezeDims=[0])
        draft.add("EXPAND_DIMS", [squeezed, draft.integers([1])], [wide], "ExpandDimsOptions", 1)
        draft.add("PACK", [squeezed, squeezed], [packed], "PackOptions", axis=1, valuesCount=2)
        draft.add("UNPACK", [packed], parts, "UnpackOptions", axis=2, num=3)
        draft.add("TILE", [wide, draft.integers([2, 1, 3])], [tiled], "TileOptions")

    compare(build, 5)
