import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.calibrate import Sample, calibrate
from edgeweave.targets.board import Engine, Quantity

DRAM_GB_S = 20.0
PEAK_GOPS = {"float32": 100.0, "int8": 400.0}


def engine() -> Engine:
    peaks = {name: Quantity(value, "test") for name, value in PEAK_GOPS.items()}
    old = (Quantity(0.143, "old"), Quantity(0.5, "old"), Quantity(20.0, "old"))
    return Engine("e", "npu", "", ("b",), peaks, *old)


def samples(
    seed: int, compute: float, memory: float, overhead_s: float, noise: float = 0.0
) -> list[Sample]:
    """Regions from 1 µs to 0.1 s of both bounds and precisions, and one that does nothing."""
    dice = random.Random(seed)
    made = [Sample(0, 1, overhead_s * math.exp(dice.gauss(0, noise)))]
    for i in range(30):
        work = 10 ** dice.uniform(-6, -1)
        precision = dice.choice(list(PEAK_GOPS))
        flops = work * compute * PEAK_GOPS[precision] * 1e9
        nbytes = work * memory * DRAM_GB_S * 1e9
        small = dice.uniform(0.01, 0.5)
        flops, nbytes = (flops, nbytes * small) if i % 2 else (flops * small, nbytes)
        seconds = (overhead_s + work) * math.exp(dice.gauss(0, noise))
        made.append(Sample(flops, nbytes, seconds, precision))
    return made


PARAMETERS = (
    st.integers(0, 2**16),
    st.floats(0.02, 1.0),
    st.floats(0.05, 1.0),
    st.floats(1e-6, 3e-4),
)


@settings(max_examples=30, deadline=None)
@given(*PARAMETERS)
def test_known_parameters_are_recovered(
    seed: int, compute: float, memory: float, overhead_s: float
) -> None:
    fitted = calibrate(samples(seed, compute, memory, overhead_s), engine(), DRAM_GB_S)
    assert fitted.compute_efficiency.value == pytest.approx(compute, rel=0.02)
    assert fitted.memory_efficiency.value == pytest.approx(memory, rel=0.02)
    assert fitted.call_overhead_us.value == pytest.approx(overhead_s * 1e6, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(*PARAMETERS)
def test_outliers_hardly_move_the_fit(
    seed: int, compute: float, memory: float, overhead_s: float
) -> None:
    measured = samples(seed, compute, memory, overhead_s)
    spoilt = [replace(s, seconds=s.seconds * 30) for s in measured[1:4]] + measured[4:]
    fitted = calibrate(measured[:1] + spoilt, engine(), DRAM_GB_S)
    assert fitted.compute_efficiency.value == pytest.approx(compute, rel=0.1)
    assert fitted.memory_efficiency.value == pytest.approx(memory, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.builds(
            Sample, st.floats(0, 1e13), st.floats(0, 1e11), st.floats(1e-9, 1e3), st.just("int8")
        ),
        min_size=3,
        max_size=12,
    )
)
def test_any_samples_give_shares_above_zero_and_up_to_one(measured: list[Sample]) -> None:
    fitted = calibrate(measured, engine(), DRAM_GB_S)
    assert 0 < fitted.compute_efficiency.value <= 1
    assert 0 < fitted.memory_efficiency.value <= 1
    assert 0 < fitted.call_overhead_us.value <= 1.000001e6 * min(s.seconds for s in measured)


def test_what_the_samples_leave_open_keeps_its_old_value() -> None:
    peak = PEAK_GOPS["float32"] * 1e9
    measured = [Sample(0.3 * peak * t, 0, t + 1e-6) for t in (1e-5, 1e-4, 1e-3, 1e-2)]
    fitted = calibrate(measured, engine(), DRAM_GB_S)
    assert fitted.compute_efficiency.value == pytest.approx(0.3, rel=0.02)
    assert fitted.memory_efficiency.value == pytest.approx(0.5, rel=0.02)


def test_the_origin_tells_the_number_of_regions_and_the_median_ratio() -> None:
    fitted = calibrate(samples(1, 0.3, 0.5, 1e-5, noise=0.05), engine(), DRAM_GB_S)
    origin = fitted.compute_efficiency.origin
    assert origin.startswith("calibrated from 31 measured regions, median ratio ")
    assert 0.9 < float(origin.rsplit(" ", 1)[1]) < 1.1
    assert fitted.memory_efficiency.origin == fitted.call_overhead_us.origin == origin
    assert fitted.peak_gops == engine().peak_gops


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(PartitionError, match="2 measured regions do not determine 3 parameters"):
        calibrate([Sample(1, 1, 1.0)] * 2, engine(), DRAM_GB_S)


def test_a_sample_of_a_precision_without_a_peak_is_an_error() -> None:
    with pytest.raises(PartitionError, match="has no peak for float16"):
        calibrate([Sample(1, 1, 1.0, "float16")] * 3, engine(), DRAM_GB_S)


@pytest.mark.parametrize("bad", [(-1, 0, 1), (0, math.inf, 1), (0, 0, 0), (0, 0, math.nan)])
def test_what_is_no_measured_region_is_no_sample(bad: tuple[float, float, float]) -> None:
    with pytest.raises(PartitionError, match="is not a measured region"):
        Sample(*bad)
