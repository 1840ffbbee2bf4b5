"""Errors and agreements of outputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgeweave.compiler.quantize.accuracy import compare_outputs


def masks(*rows: list[int]) -> list[np.ndarray]:
    """One frame per row: scores of two classes whose greatest is the class of each pixel."""
    return [np.eye(2, dtype=np.float32)[np.array(row)].T.reshape(1, 2, 1, -1) for row in rows]


def compare(expected: list[np.ndarray], actual: list[np.ndarray]):  # type: ignore[no-untyped-def]
    (found,) = compare_outputs(["out"], [[a] for a in expected], [[b] for b in actual])
    return found


def test_masks_are_pooled_over_the_frames() -> None:
    found = compare(masks([1, 1, 1, 0], [0, 0, 0, 1]), masks([1, 1, 1, 0], [0, 0, 1, 1]))
    assert found.measure == "iou"
    assert found.agreement == pytest.approx(4 / 5)
    assert found.lowest == pytest.approx(1 / 2)
    assert found.max_abs == 1.0


def test_a_mask_that_both_leave_empty_agrees() -> None:
    assert compare(masks([0, 0]), masks([0, 0])).agreement == 1.0


def test_rows_of_scores_agree_by_their_greatest() -> None:
    a = np.array([[1, 2, 3], [3, 2, 1], [1, 3, 2], [9, 0, 0]], np.float32)
    b = np.array([[1, 2, 3], [1, 2, 3], [1, 3, 2], [8, 0, 0]], np.float32)
    found = compare([a], [b])
    assert (found.measure, found.agreement) == ("top1", 0.75)


def test_other_outputs_have_a_cosine() -> None:
    a = np.array([1.0, 0.0], np.float32)
    found = compare([a, a], [a, np.array([1.0, 1.0], np.float32)])
    assert found.measure == "cosine"
    assert found.lowest == pytest.approx(np.sqrt(0.5))
    assert found.cosine == found.agreement
    assert found.rms == pytest.approx(0.5)


def test_integers_are_equal_or_not() -> None:
    found = compare([np.array([1, 2, 3, 4])], [np.array([1, 2, 3, 5])])
    assert (found.measure, found.agreement, found.max_abs) == ("equal", 0.75, 1.0)


def test_equal_infinities_are_no_error() -> None:
    a = np.array([np.inf, -np.inf, np.nan, 1.0], np.float32)
    found = compare([a], [a])
    assert (found.max_abs, found.rms, found.agreement) == (0.0, 0.0, 1.0)


def test_zeros_agree_with_zeros_only() -> None:
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert compare([zero], [zero]).agreement == 1.0
    assert compare([zero], [one]).agreement == 0.0


def test_values_that_are_no_tensors_are_left_out() -> None:
    assert compare_outputs(["s"], [[["text"]]], [[["text"]]]) == ()
