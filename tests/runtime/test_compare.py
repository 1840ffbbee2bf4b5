import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeweave.runtime.compare import OutputDifference, Tolerance, compare, explained, worse

EXACT, LOOSE = Tolerance(0.0, 0.0), Tolerance(1e-3, 1e-3)
NAN, INF = float("nan"), float("inf")


def f32(*values):
    return np.array(values, np.float32)


@given(hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32)))
def test_every_float_array_equals_itself_exactly(values):
    found = compare("y", values, values.copy(), EXACT)
    assert (found.max_abs, found.max_rel, found.mismatch) == (0.0, 0.0, "")


@pytest.mark.parametrize(
    ("actual", "expected", "passed"),
    [
        (f32(1.0009), f32(1.0), True),
        (f32(1.003), f32(1.0), False),
        (f32(0.0009), f32(0.0), True),
        (f32(1000.9), f32(1000.0), True),
        (f32(NAN), f32(NAN), True),
        (f32(NAN), f32(0), False),
        (f32(0), f32(NAN), False),
        (f32(INF), f32(INF), True),
        (f32(-INF), f32(INF), False),
        (f32(1e30), f32(INF), False),
        (f32(), f32(), True),
        (f32(1, 2), f32(1), False),
        (np.float64([1]), f32(1), False),
        (np.int32([3]), np.int32([3]), True),
        (np.int32([3]), np.int32([4]), False),
        (np.uint8([0]), np.uint8([255]), False),
        (np.array([True]), np.array([False]), False),
        (np.array(["a"], object), np.array(["a"], object), True),
        (np.array(["a"], object), np.array(["b"], object), False),
        (np.complex64([1j]), np.complex64([1j + 1e-4]), True),
        (np.ones(2, ml_dtypes.bfloat16), np.ones(2, ml_dtypes.bfloat16), True),
        (np.ones(2, ml_dtypes.int4), np.zeros(2, ml_dtypes.int4), False),
        ([f32(1), f32(2)], [f32(1), f32(2)], True),
        ([f32(1), f32(9)], [f32(1), f32(2)], False),
        ([f32(1)], [f32(1), f32(2)], False),
        (f32(1), [f32(1)], False),
        ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        (None, None, True),
        (None, f32(1), False),
        (f32(1), None, False),
    ],
)
def test_values_agree_only_within_the_tolerance(actual, expected, passed):
    assert compare("y", actual, expected, LOOSE).passed is passed


def test_the_figures_are_the_largest_difference_and_its_share_of_the_largest_magnitude():
    found = compare("y", f32(1, 2, -8.5), f32(1, 2, -8), LOOSE)
    assert (found.max_abs, found.max_rel) == (0.5, 0.0625)
    assert found.mismatch == "1 of 3 values are outside the tolerance"


def test_integers_that_are_far_apart_do_not_overflow():
    low, high = np.int64([-(2**63)]), np.int64([2**63 - 1])
    assert compare("y", low, high, LOOSE).max_abs == 2.0**64


def test_the_worst_element_of_a_sequence_is_reported():
    found = compare("y", [f32(1), f32(2)], [f32(1.5), f32(2)], LOOSE)
    assert found.max_abs == 0.5
    assert not found.passed


@pytest.mark.parametrize(("steps", "off", "passed"), [(0, 1, False), (1, 1, True), (1, 2, False)])
def test_integers_agree_up_to_the_steps_that_are_allowed(steps, off, passed):
    wanted = np.array([-128, 0, 126], np.int8)
    got = wanted + np.int8(off) if off < 2 else np.array([-126, 0, 126], np.int8)
    found = compare("y", got, wanted, Tolerance(0, 0, steps))
    assert found.passed is passed
    assert found.max_abs == off
    if not passed and steps:
        assert found.mismatch == "1 of 3 values differ by more than 1"


def test_a_difference_is_explained_by_what_the_reference_does_itself():
    wanted = np.zeros(4, np.float32)
    found = compare("y", np.array([4, 0, 0, 0], np.float32), wanted, Tolerance(0, 0))
    as_far = compare("y", np.array([0, 2, 0, 0], np.float32), wanted, Tolerance(0, 0))
    nearer = compare("y", np.array([0, 1, 1, 1], np.float32), wanted, Tolerance(0, 0))
    still = compare("y", wanted, wanted, Tolerance(0, 0))
    assert (found.mean_abs, as_far.mean_abs) == (1.0, 0.5)
    assert explained(found, as_far).passed
    assert explained(found, as_far).rounding == (2.0, 0.5)
    assert not explained(found, nearer).passed  # the largest is over twice as large
    assert not explained(found, still).passed


def test_of_two_frames_the_larger_rounding_is_told():
    a = OutputDifference("y", 1.0, 0.1, "", 0.5, (2.0, 0.5))
    b = OutputDifference("y", 2.0, 0.1, "", 0.25, None)
    assert worse(a, b) == OutputDifference("y", 2.0, 0.1, "", 0.5, (2.0, 0.5))
