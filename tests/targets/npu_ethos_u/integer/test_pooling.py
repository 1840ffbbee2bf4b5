"""Pools, means and extremes over axes equal LiteRT's reference kernels bit for bit."""

from __future__ import annotations

from typing import Any

import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate


@pytest.mark.parametrize("code", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_pools(compare: Any, code: str) -> None:
    def build(draft: Any) -> None:
        padding = draft.integer(0, 1)
        kernel = (draft.integer(1, 6), draft.integer(1, 6))
        stride = (draft.integer(1, 3), draft.integer(1, 3))
        shape = (
            draft.integer(1, 2),
            draft.integer(6, 15),
            draft.integer(6, 15),
            draft.integer(1, 9),
        )
        sizes = zip(shape[1:3], kernel, stride, strict=True)
        out = [-(-n // s) if padding == 0 else (n - k) // s + 1 for n, k, s in sizes]
        quantisation = draft.quantisation()
        x = draft.input(shape, quantisation)
        y = draft.output((shape[0], *out, shape[3]), quantisation)
        fields = {
            "filterHeight": kernel[0],
            "filterWidth": kernel[1],
            "strideH": stride[0],
            "strideW": stride[1],
            "padding": padding,
            "fusedActivationFunction": draft.integer(0, 3),
        }
        draft.add(code, [x], [y], "Pool2DOptions", **fields)

    compare(build, 30)


def test_mean(compare: Any) -> None:
    axes = [[1, 2], [2], [1], [3], [1, 2, 3], [-1], [2, -2]]

    def build(draft: Any) -> None:
        shape = tuple(draft.integer(1, 20) for _ in range(4))
        reduced = axes[draft.integer(0, len(axes) - 1)]
        keep = bool(draft.integer(0, 1))
        gone = {axis % 4 for axis in reduced}
        kept = [1 if axis in gone else size for axis, size in enumerate(shape)]
        dropped = [size for axis, size in enumerate(shape) if axis not in gone]
        scale, zero_point = draft.quantisation()
        x = draft.input(shape, (scale, zero_point))
        y = draft.output(kept if keep else dropped, (scale * draft.random.uniform(0.1, 2), 3))
        draft.add("MEAN", [x, draft.integers(reduced)], [y], "ReducerOptions", keepDims=keep)

    compare(build, 40)


@pytest.mark.parametrize("code", ["REDUCE_MAX", "REDUCE_MIN"])
def test_extremes(compare: Any, code: str) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        x = draft.input((2, 2, 3, 2), quantisation)
        y = draft.output((2, 2, 1, 2), quantisation)
        draft.add(code, [x, draft.integers([2])], [y], "ReducerOptions", keepDims=True)

    compare(build)


def test_a_window_larger_than_its_input_is_refused(draft: Any) -> None:
    x, y = draft.input((1, 2, 9, 1)), draft.output((1, 1, 1, 1))
    fields = {"filterHeight": 3, "filterWidth": 3, "strideH": 1, "strideW": 1, "padding": 1}
    draft.add("MAX_POOL_2D", [x], [y], "Pool2DOptions", **fields)
    with pytest.raises(TargetError, match=r"its window \(3, 3\) is larger than its input"):
        evaluate(draft.finish(), draft.values)


def test_a_mean_whose_sum_leaves_32_bits_is_refused(draft: Any) -> None:
    x, y = draft.input((1, 1, 9_000_000, 1), (1.0, 127)), draft.output((1, 1, 1, 1))
    draft.values[0][:] = -128
    draft.add("MEAN", [x, draft.integers([2])], [y], "ReducerOptions", keepDims=True)
    with pytest.raises(TargetError, match="its sums leave 32 bits"):
        evaluate(draft.finish(), draft.values)
