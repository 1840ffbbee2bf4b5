import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.partition.costs import Source
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.roofline import ideal_seconds, roofline
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.region import Region


def q(value: float) -> Quantity:
    return Quantity(value, "test")


ENGINE = Engine("e", "npu", "", ("b",), {"int8": q(100.0)}, q(0.25), q(0.5), q(20.0))


def region(flops: int, nbytes: int, precision: str = "int8") -> Region:
    return Region(0, (), (), (), flops, nbytes, 0, precision, "d")


def test_arithmetic_bounds_a_region_of_many_operations() -> None:
    cost = roofline(region(50_000_000, 10), ENGINE, 10.0)
    assert cost.seconds == pytest.approx(50e6 / (100e9 * 0.25))
    assert cost.source is Source.ROOFLINE


def test_memory_bounds_a_region_of_many_bytes() -> None:
    cost = roofline(region(10, 50_000_000), ENGINE, 10.0)
    assert cost.seconds == pytest.approx(50e6 / (10e9 * 0.5))


def test_a_region_that_does_nothing_costs_nothing_without_the_call() -> None:
    assert roofline(region(0, 0), ENGINE, 10.0).seconds == 0


def test_a_precision_without_a_peak_cannot_be_costed() -> None:
    with pytest.raises(PartitionError, match="engine e: has no peak for float32"):
        roofline(region(1, 1, "float32"), ENGINE, 10.0)


@given(st.integers(0, 10**12), st.integers(0, 10**10), st.integers(1, 10**6))
def test_more_work_is_never_predicted_faster_nor_below_the_ideal(
    flops: int, nbytes: int, more: int
) -> None:
    now = roofline(region(flops, nbytes), ENGINE, 10.0).seconds
    assert now >= ideal_seconds(region(flops, nbytes), ENGINE, 10.0)
    assert roofline(region(flops + more, nbytes), ENGINE, 10.0).seconds >= now
    assert roofline(region(flops, nbytes + more), ENGINE, 10.0).seconds >= now
