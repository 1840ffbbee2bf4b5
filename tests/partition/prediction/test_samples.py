import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.samples import find_outliers, quartiles, summarise

times = st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=50)


@given(times)
def test_a_summary_is_the_median_and_lies_within_the_times(seconds: list[float]) -> None:
    summary = summarise(seconds)
    assert summary.seconds == statistics.median(seconds)
    assert min(seconds) <= summary.seconds <= max(seconds)
    assert summary.spread_s >= 0
    assert summary.repeats == len(seconds)
    assert 0 <= summary.outliers < max(len(seconds), 1)


@given(times, st.floats(1e-3, 1e3))
def test_the_unit_of_the_times_changes_no_verdict(seconds: list[float], scale: float) -> None:
    # powers of two scale exactly
    exact = 2.0 ** round(math.log2(scale))
    scaled = [value * exact for value in seconds]
    assert find_outliers(scaled) == find_outliers(seconds)
    assert summarise(scaled).is_unsteady == summarise(seconds).is_unsteady


@given(times)
def test_what_stands_apart_is_never_nearer_than_what_does_not(seconds: list[float]) -> None:
    middle = statistics.median(seconds)
    apart = set(find_outliers(seconds))
    for side in (1, -1):
        far = [abs(v - middle) for i, v in enumerate(seconds) if (v - middle) * side > 0]
        inside = [
            abs(v - middle)
            for i, v in enumerate(seconds)
            if (v - middle) * side > 0 and i not in apart
        ]
        outside = [
            abs(v - middle) for i, v in enumerate(seconds) if (v - middle) * side > 0 and i in apart
        ]
        assert len(far) == len(inside) + len(outside)
        if inside and outside:
            assert max(inside) <= min(outside)


def test_a_call_that_was_interrupted_stands_apart() -> None:
    dice = random.Random(1)
    seconds = [1e-3 * dice.uniform(0.99, 1.01) for _ in range(20)]
    seconds[7] = 5e-3
    assert find_outliers(seconds) == [7]
    summary = summarise(seconds)
    assert summary.outliers == 1
    assert not summary.is_unsteady
    assert summary.seconds == pytest.approx(1e-3, rel=0.01)


def test_a_modified_z_score_finds_what_quartiles_hide() -> None:
    # a quarter of the times is wide, so three interquartile ranges reach far
    seconds = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.2, 1.25, 1.0, 1.01, 1.3]
    low, _, high = quartiles(seconds)
    assert high + 3 * (high - low) > max(seconds)
    assert find_outliers(seconds) == [6, 7, 10]


def test_equal_times_but_one_are_judged_by_the_mean_deviation() -> None:
    assert find_outliers([1.0] * 9 + [1.5]) == [9]


def test_equal_times_and_very_few_have_no_outliers() -> None:
    assert find_outliers([1.0] * 10) == []
    assert find_outliers([1.0, 50.0]) == []
    assert summarise([0.5]).spread_s == 0


def test_wide_times_are_unsteady() -> None:
    assert summarise([1.0, 1.1, 1.5, 1.6, 2.0, 2.2]).is_unsteady
    assert not summarise([1.0, 1.01, 1.02, 1.03]).is_unsteady


def test_no_time_at_all_is_an_error() -> None:
    with pytest.raises(PartitionError, match="samples: no time was taken"):
        summarise([])
