"""The order in which regions stay in float, and how many it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgeweave.compiler.quantize.accuracy import OutputAccuracy
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.mixed import check_floors, find_mix, missed, rank
from edgeweave.compiler.quantize.sensitivity import Sensitivity


def errors(*numbers: float) -> np.ndarray:
    return np.array(numbers)


# Regions 0 -> 1 -> 2 -> 3; "b" between 1 and 2 costs most, then the inside of 0.
CHAIN = Sensitivity(
    outputs=("y", "z"),
    inner=(errors(4, 0), errors(1, 0), errors(0, 0), errors(0, 50)),
    values={"a": errors(0.5, 0), "b": errors(20, 0), "c": errors(0.25, 0)},
    touching={"a": frozenset({0, 1}), "b": frozenset({1, 2}), "c": frozenset({2, 3})},
    produced=(frozenset({"a"}), frozenset({"b"}), frozenset({"c"}), frozenset()),
)


def accuracy(agreement: float) -> tuple[OutputAccuracy, ...]:
    return (OutputAccuracy("y", "cosine", 0.0, 0.0, agreement, agreement, agreement),)


def test_a_value_is_freed_by_all_that_touch_it() -> None:
    assert rank(CHAIN, ["y"])[:3] == [1, 2, 0]


def test_only_outputs_that_fail_count() -> None:
    assert rank(CHAIN, ["z"])[0] == 3


def test_every_region_is_ranked_once() -> None:
    assert sorted(rank(CHAIN, ["y", "z"])) == [0, 1, 2, 3]


def test_the_sensitivity_of_a_region_is_its_own_rounding() -> None:
    assert CHAIN.of_region(1) == {"y": pytest.approx(np.sqrt(21)), "z": 0.0}


def test_the_fewest_regions_are_found_and_none_too_many() -> None:
    tried: list[tuple[int, ...]] = []

    def verdict(regions: Sequence[int]) -> tuple[OutputAccuracy, ...]:
        tried.append(tuple(regions))
        return accuracy(0.99 if {2, 0} <= set(regions) else 0.5)

    mix = find_mix(CHAIN, ["y"], {"y": 0.9}, verdict)
    assert set(mix.regions) == {2, 0}
    assert mix.accuracy == accuracy(0.99)
    assert len(tried) < 8


def test_all_regions_are_left_when_nothing_less_will_do() -> None:
    def verdict(regions: Sequence[int]) -> tuple[OutputAccuracy, ...]:
        return accuracy(1.0 if len(regions) == 4 else 0.0)

    assert len(find_mix(CHAIN, ["y"], {"": 0.9}, verdict).regions) == 4


def test_floors_are_by_output_or_for_all() -> None:
    assert missed(accuracy(0.8), {"y": 0.9}) == ["y"]
    assert missed(accuracy(0.8), {"": 0.9}) == ["y"]
    assert missed(accuracy(0.8), {"": 0.9, "y": 0.7}) == []
    assert missed(accuracy(0.8), {}) == []


def test_a_floor_of_no_output_is_an_error() -> None:
    with pytest.raises(QuantizeError, match=r"names no output of the model\. Outputs: y, z"):
        check_floors({"": 0.9, "w": 0.5}, ["y", "z"])
