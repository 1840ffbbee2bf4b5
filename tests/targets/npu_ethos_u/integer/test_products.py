"""Matrix products equal LiteRT's reference kernels bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_fully_connected(compare: Any) -> None:
    def build(draft: Any) -> None:
        depth, channels = draft.integer(1, 90), draft.integer(1, 40)
        scale = draft.scale(0.002)
        x = draft.input((3, depth), (0.05, draft.zero_point()))
        data = draft.random.integers(-127, 128, (channels, depth)).astype(np.int8)
        w = draft.writer.constant("w", data, [scale] * (channels if draft.integer(0, 1) else 1))
        data = draft.random.integers(-9999, 9999, channels).astype(np.int32)
        inputs = [x, w, draft.writer.constant("b", data, [0.05 * scale])]
        y = draft.output((3, channels))
        fields = {"fusedActivationFunction": draft.integer(0, 3)}
        draft.add("FULLY_CONNECTED", inputs, [y], "FullyConnectedOptions", 4, **fields)

    compare(build, 30)


def test_batch_matmul(compare: Any) -> None:
    def build(draft: Any) -> None:
        rows, depth, columns = (draft.integer(1, 20) for _ in range(3))
        swapped = (bool(draft.integer(0, 1)), bool(draft.integer(0, 1)))
        left = (2, depth, rows) if swapped[0] else (2, rows, depth)
        right = (2, columns, depth) if swapped[1] else (2, depth, columns)
        a, b = draft.input(left), draft.input(right)
        y = draft.output((2, rows, columns), draft.quantisation(around=0.3))
        fields = {"adjX": swapped[0], "adjY": swapped[1]}
        draft.add("BATCH_MATMUL", [a, b], [y], "BatchMatMulOptions", **fields)

    compare(build, 30)
