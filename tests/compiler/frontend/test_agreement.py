from __future__ import annotations

import math

import numpy as np
import pytest

from edgeweave.compiler.frontend.agreement import Samples, excess
from edgeweave.compiler.frontend.reference import Reference
from edgeweave.compiler.types import value_spec


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([1.0, 2.0], [1.0005, 2.0]),
        ([np.nan, np.inf, 1.0], [np.nan, np.inf, 1.0]),
        ([0.0, 0.0], [0.0, 1e-31]),
        ([], []),
    ],
)
def test_rounding_and_equal_special_values_agree(expected, actual):
    assert excess([np.array(expected, np.float32)], [np.array(actual, np.float32)]) <= 1


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([1.0, 2.0], [1.1, 2.0]),
        ([np.nan, 1.0], [1.0, 1.0]),
        ([np.inf, 1.0], [-np.inf, 1.0]),
        ([0.0, 0.0], [0.0, 1e-3]),
        ([1.0], [1.0, 1.0]),
    ],
)
def test_other_values_and_shapes_disagree(expected, actual):
    assert excess([np.array(expected, np.float32)], [np.array(actual, np.float32)]) > 1


def test_integers_texts_and_truths_agree_only_when_equal():
    for array in (np.array([1, 2]), np.array(["a", "b"], object), np.array([True, False])):
        assert excess(array, array.copy()) == 0
        assert excess(array, array[::-1].copy()) > 1


def test_sequences_maps_and_nothing_are_compared_inside():
    one, two = np.array([1.0]), np.array([2.0])
    assert excess([[one, two]], [[one, two]]) == 0
    assert excess([[one, two]], [[one]]) == math.inf
    assert excess([{"a": 1.0}], [{"a": 1.0}]) == 0
    assert excess([{"a": 1.0}], [{"b": 1.0}]) == math.inf
    assert excess([None], [None]) == 0
    assert excess([None], [one]) == math.inf


def test_another_element_type_disagrees():
    assert excess(np.ones(2, np.float32), np.ones(2, np.float64)) == math.inf


def samples_of(proto) -> Samples:
    return Samples(proto, [value_spec(i) for i in proto.graph.input], Reference(proto))


def test_a_difference_that_rounding_of_the_inputs_makes_too_is_no_fault(build):
    chaotic = build(
        "g (float[64] x) => (float[64] y) { a = Mul(x, k) y = Sin(a) }",
        {"k": np.array(1e6, np.float32)},
    )
    reordered = build(
        "g (float[64] x) => (float[64] y) { a = Mul(x, k) b = Mul(a, k) y = Sin(b) }",
        {"k": np.array(1e3, np.float32)},
    )
    assert samples_of(chaotic).fault(reordered, reordered.SerializeToString()) is None


def test_a_difference_that_rounding_does_not_make_is_a_fault(build):
    one = build("g (float[64] x) => (float[64] y) { y = Sin(x) }")
    other = build("g (float[64] x) => (float[64] y) { y = Cos(x) }")
    fault = samples_of(one).fault(other, other.SerializeToString())
    assert fault is not None
    assert "differ" in fault


def test_outputs_under_other_names_are_a_fault(build):
    one = build("g (float[64] x) => (float[64] y) { y = Sin(x) }")
    other = build("g (float[64] x) => (float[64] z) { z = Sin(x) }")
    assert samples_of(one).fault(other, other.SerializeToString()) == "its outputs have other names"
