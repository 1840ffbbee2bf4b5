"""Ranges of values by method, and which part of them a Softmax needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeweave.compiler.graph import view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.calibration import Calibration
from edgeweave.compiler.quantize.ranges import find_channel_ranges, find_ranges
from edgeweave.compiler.quantize.settings import Method

Canonical = Callable[[str], Model]
Progress = Callable[[str, int, int, str], None]


def frames(*arrays: np.ndarray) -> Calibration:
    found = tuple({"x": array.astype(np.float32)} for array in arrays)
    return Calibration(found, tuple(f"{i}.npy" for i in range(len(found))))


@pytest.mark.parametrize(
    ("method", "low", "high"),
    [("minmax", 99.0, 101.0), ("percentile", 3.0, 30.0), ("entropy", 0.5, 60.0)],
)
def test_methods_cut_off_outliers_or_not(
    canonical: Canonical, progress: Progress, method: Method, low: float, high: float
) -> None:
    model = canonical("g (float[1,500000] x) => (float[1,500000] y) { y = Neg(x) }")
    first, second = np.random.default_rng(0).standard_normal((2, 1, 500_000))
    first[0, 7] = 100.0
    found = find_ranges(model.proto, frames(first, second), method, progress)
    assert low < found["x"][1] < high
    assert -high < found["y"][0] < -low


def test_channels_have_sizes(canonical: Canonical, progress: Progress) -> None:
    model = canonical("g (float[1,2,3] x) => (float[1,2,3] y) { y = Neg(x) }")
    array = np.array([[[1, -4, 2], [0, 0.5, 0]]])
    found = find_channel_ranges(view_graph(model.proto), frames(array, array / 2), progress)
    assert found["x"].tolist() == [4.0, 0.5]
    assert found["y"].tolist() == [4.0, 0.5]


ROWS = np.array([[0.0, 10.0, -1000.0, 9.0]])


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        ("a = Neg(x) b = Neg(a) y = Softmax(b)", "b", (10 - np.log(1024), 10.0)),
        ("a = Neg(x) b = Mul(a, minus) y = Softmax(b)", "a", (-10.0, -10 + np.log(1024))),
        ("a = Neg(x) b = Div(a, minus) y = Softmax(b)", "a", (-10.0, -10 + np.log(1024))),
        ("a = Neg(x) b = Neg(a) y = Softmax(b) z = Relu(b)", "b", (-1000.0, 10.0)),
        ("y = Softmax(x)", "x", (-1000.0, 10.0)),
    ],
)
def test_a_softmax_needs_no_steps_far_below_its_peak(
    canonical: Canonical,
    progress: Progress,
    body: str,
    name: str,
    expected: tuple[float, float],
) -> None:
    outputs = "float[1,4] y" + (", float[1,4] z" if "z =" in body else "")
    model = canonical(f"g (float[1,4] x) => ({outputs}) <float minus = {{-1}}> {{ {body} }}")
    found = find_ranges(model.proto, frames(ROWS), "minmax", progress)
    low, high = expected
    # zero belongs to every range
    assert found[name] == pytest.approx((min(low, 0.0), max(high, 0.0)))
