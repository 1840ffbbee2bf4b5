import ml_dtypes
import numpy as np
import pytest

from edgeweave.runtime.errors import InputError
from edgeweave.runtime.input_check import check_inputs
from edgeweave.runtime.spec import ValueSpec


def check(kind, shape, value):
    return check_inputs([ValueSpec("x", kind, shape)], {"x": value})["x"]


@pytest.mark.parametrize(
    ("kind", "shape", "value"),
    [
        ("tensor(float)", (), np.float32(1)),
        ("tensor(float)", (None, 3), np.zeros((7, 3), np.float32)),
        ("tensor(float)", None, np.zeros((1, 2, 3), np.float32)),
        ("tensor(float)", (0,), np.zeros(0, np.float32)),
        ("tensor(bfloat16)", (2,), np.zeros(2, ml_dtypes.bfloat16)),
        ("tensor(int4)", (2,), np.zeros(2, ml_dtypes.int4)),
        ("tensor(string)", (2,), np.array(["a", "b"])),
        ("tensor(string)", (2,), np.array(["a", "b"], object)),
        ("seq(tensor(float))", None, [np.zeros(2, np.float32), np.zeros(3, np.float32)]),
        ("seq(tensor(float))", None, []),
        ("optional(tensor(float))", (2,), None),
        ("optional(tensor(float))", (2,), np.zeros(2, np.float32)),
        ("optional(seq(tensor(float)))", None, [np.zeros(2, np.float32)]),
        ("map(int64,tensor(float))", None, {1: 2.0}),
    ],
)
def test_a_value_as_declared_is_accepted(kind, shape, value):
    check(kind, shape, value)


@pytest.mark.parametrize(
    ("kind", "shape", "value", "message"),
    [
        ("tensor(float)", (), np.zeros(1, np.float32), "shape scalar, got 1"),
        ("tensor(float)", (None, 3), np.zeros((7, 4), np.float32), r"shape \?x3, got 7x4"),
        ("tensor(bfloat16)", (2,), np.zeros(2, np.float16), "dtype bfloat16, got float16"),
        ("tensor(string)", (1,), np.zeros(1, np.int64), "dtype object, got int64"),
        ("seq(tensor(float))", None, np.zeros(2, np.float32), "a list of arrays .* got ndarray"),
        ("seq(tensor(float))", None, [np.zeros(2)], "dtype float32, got float64"),
        ("optional(tensor(float))", (2,), np.zeros(3, np.float32), "shape 2, got 3"),
    ],
)
def test_a_value_that_is_not_as_declared_is_refused_with_expected_and_got(
    kind, shape, value, message
):
    with pytest.raises(InputError, match=f"input 'x': expected .*{message}"):
        check(kind, shape, value)


def test_an_optional_input_may_be_left_out():
    spec = ValueSpec("x", "optional(tensor(float))", (2,))
    assert check_inputs([spec], {}) == {"x": None}
