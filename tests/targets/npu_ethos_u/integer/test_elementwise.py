"""Sums, products, greatest and least equal LiteRT's reference kernels bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def _pair(draft: Any) -> tuple[int, int, tuple[int, ...]]:
    """Two inputs whose shapes broadcast, one sometimes a constant, and the shape of both."""
    shape = (1, draft.integer(1, 9), draft.integer(1, 9), draft.integer(1, 17))
    other = tuple(size if draft.integer(0, 2) else 1 for size in shape)
    x = draft.input(shape)
    if draft.integer(0, 2):
        return x, draft.input(other), shape
    data = draft.random.integers(-128, 128, other).astype(np.int8)
    return x, draft.writer.constant("c", data, [draft.scale()], draft.zero_point()), shape


@pytest.mark.parametrize(("code", "around"), [("ADD", 0.1), ("SUB", 0.1), ("MUL", 0.1)])
def test_arithmetic(compare: Any, code: str, around: float) -> None:
    def build(draft: Any) -> None:
        a, b, shape = _pair(draft)
        y = draft.output(shape, (draft.scale(around), draft.zero_point()))
        pair = [a, b] if draft.integer(0, 1) else [b, a]
        options = f"{code.capitalize()}Options"
        draft.add(code, pair, [y], options, fusedActivationFunction=draft.integer(0, 3))

    compare(build, 30)


def test_a_value_added_to_itself(compare: Any) -> None:
    def build(draft: Any) -> None:
        x = draft.input((1, 2, 3, 50))
        draft.add("ADD", [x, x], [draft.output((1, 2, 3, 50))], "AddOptions")

    compare(build)


@pytest.mark.parametrize("code", ["MAXIMUM", "MINIMUM"])
def test_extremes(compare: Any, code: str) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        shape = (1, 5, 4, 7)
        a = draft.input(shape, quantisation)
        b = draft.input((1, 1, 1, 7) if draft.integer(0, 1) else shape, quantisation)
        y = draft.output(shape, quantisation)
        draft.add(code, [a, b], [y], "MaximumMinimumOptions")

    compare(build)
