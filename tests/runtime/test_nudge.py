"""Inputs as another rounding would give them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeweave.runtime.nudge import nudged

MANY = (100, 1000)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_about_one_integer_in_a_hundred_moves_by_one(dtype: type) -> None:
    value = np.random.default_rng(0).integers(0, 100, MANY).astype(dtype)
    moved = nudged({"x": value})["x"].astype(int) - value
    assert set(np.unique(moved)) == {-1, 0, 1}
    assert 0.005 < np.count_nonzero(moved) / moved.size < 0.02


def test_no_integer_leaves_its_range() -> None:
    value = np.where(np.random.default_rng(5).random(MANY) < 0.5, -128, 127).astype(np.int8)
    moved = nudged({"x": value})["x"].astype(int) - value
    assert set(np.unique(moved[value == 127])) == {-1, 0}
    assert set(np.unique(moved[value == -128])) == {0, 1}


def test_floats_move_by_a_step_of_eight_bits() -> None:
    value = np.random.default_rng(0).random(MANY).astype(np.float32)
    moved = nudged({"x": value})["x"]
    assert moved.dtype == np.float32
    far = np.abs(moved - value)
    assert 0.005 < np.count_nonzero(far) / far.size < 0.02
    assert far.max() == pytest.approx(1 / 255, rel=0.01)


def test_what_is_no_number_stays() -> None:
    masked = np.array([0.0, -np.inf], np.float32)
    given = {"words": np.array(["a"], object), "list": [1], "empty": np.zeros((0,), np.float32)}
    found = nudged({**given, "masked": masked})
    assert all(found[name] is value for name, value in given.items())
    assert found["masked"] is masked


def test_the_same_seed_moves_the_same() -> None:
    value = np.zeros(MANY, np.float32) + np.arange(1000, dtype=np.float32)
    first, again, other = (nudged({"x": value}, seed)["x"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
