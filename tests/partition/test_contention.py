"""The law of contention, and the interval that it allows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention, Traffic, contended_interval, memory_seconds
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.fit_contention import Sample, fit_contention

LAW = Contention(100.0, 2.0)
DEMAND = st.floats(0, 1e3)
LAWS = st.builds(Contention, st.floats(1, 500), st.floats(0, 5))
ENGINES = st.lists(
    st.builds(Traffic, st.floats(0.01, 10), st.integers(0, 2000)), min_size=1, max_size=4
)


@pytest.mark.parametrize(
    ("own", "others", "slowdown"),
    [
        (40, 60, 1.0),  # at the knee
        (40, 110, 2.0),  # half as much again, twice that
        (80, 40, 1.4),
        (0, 500, 1.0),  # draws nothing
        (150, 0, 1.0),  # has the memory to itself
        (150, 50, 2.0),  # above the knee alone: the others are the excess
    ],
)
def test_the_slowdown_grows_with_the_excess_over_the_knee(own, others, slowdown):
    assert LAW.slowdown(own, others) == pytest.approx(slowdown)


@settings(deadline=None)
@given(law=LAWS, own=DEMAND, others=DEMAND, more=DEMAND)
def test_more_traffic_beside_it_never_speeds_work_up(law, own, others, more):
    assert 1 <= law.slowdown(own, others) <= law.slowdown(own, others + more)
    assert law.slowdown(own, 0) == 1


@settings(deadline=None)
@given(law=LAWS, demands=st.lists(DEMAND, max_size=4))
def test_paces_are_the_inverse_of_slowdowns(law, demands):
    paces = law.paces(demands)
    expected = [1 / law.slowdown(own, sum(demands) - own) for own in demands]
    assert paces == pytest.approx(expected)


@settings(deadline=None)
@given(demands=st.lists(st.floats(1, 99), min_size=1, max_size=6))
def test_a_fair_share_fills_a_saturated_memory_and_no_more(demands):
    got = sum(d * p for d, p in zip(demands, Contention(100.0).paces(demands), strict=True))
    assert got == pytest.approx(min(100.0, sum(demands)))


@settings(deadline=None)
@given(engines=ENGINES)
def test_a_fair_share_adds_nothing_to_the_interval_but_the_bandwidth(engines):
    """So a board that states no contention is one that shares its memory fairly."""
    bandwidth = 500.0
    expected = contended_interval(engines, None, bandwidth)[0]
    longest = max(e.seconds for e in engines)
    assert expected == max(longest, sum(e.nbytes for e in engines) / bandwidth)
    found = contended_interval(engines, Contention(bandwidth, 1.0), bandwidth)[0]
    assert found == pytest.approx(expected)


@settings(deadline=None)
@given(engines=ENGINES, law=LAWS)
def test_the_interval_is_the_least_at_which_every_engine_keeps_up(engines, law):
    interval, slowest = contended_interval(engines, law, 1e9)
    total = sum(e.nbytes for e in engines)

    def slowed(engine: Traffic, interval: float) -> float:
        others = (total - engine.nbytes) / interval
        return engine.seconds * law.slowdown(engine.nbytes / engine.seconds, others)

    assert all(slowed(e, interval) <= interval * (1 + 1e-9) for e in engines)
    assert slowest is not None
    shorter = interval * (1 - 1e-6)
    assert slowed(engines[slowest], shorter) > shorter


def test_the_memory_sets_the_interval_where_it_is_slowest():
    assert contended_interval([Traffic(1.0, 300), Traffic(2.0, 300)], None, 200.0) == (3.0, None)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan")])
def test_bytes_without_a_bandwidth_are_an_error(bandwidth):
    with pytest.raises(PartitionError, match="move 8 bytes per frame but the memory bandwidth"):
        contended_interval([Traffic(1.0, 8)], None, bandwidth)
    assert memory_seconds(0, bandwidth) == 0


@pytest.mark.parametrize("knee", [0.0, -1.0, float("nan")])
def test_a_knee_that_is_no_bandwidth_is_an_error(knee):
    with pytest.raises(PartitionError, match="is not a bandwidth"):
        Contention(knee)


@pytest.mark.parametrize("slope", [-0.1, float("inf"), float("nan")])
def test_a_slope_that_is_no_slowdown_is_an_error(slope):
    with pytest.raises(PartitionError, match="is not a finite slowdown"):
        Contention(1.0, slope)


DEMANDS = [(own, others) for own in (5.0, 20.0, 45.0, 80.0) for others in (0.0, 10.0, 40.0, 90.0)]


@settings(deadline=None)
@given(knee=st.floats(20, 100), slope=st.floats(0.2, 3))
def test_a_fit_finds_the_law_that_made_the_samples(knee, slope):
    law = Contention(knee, slope)
    found = fit_contention([Sample(a, b, law.slowdown(a, b)) for a, b in DEMANDS])
    assert found.error < 1e-3
    for a, b in DEMANDS:
        assert found.contention.slowdown(a, b) == pytest.approx(law.slowdown(a, b), abs=0.01)


def test_a_fit_of_noisy_samples_states_their_error():
    law = Contention(60.0, 1.5)
    noise = [1.05, 0.95] * (len(DEMANDS) // 2)
    samples = [
        Sample(a, b, law.slowdown(a, b) * n) for (a, b), n in zip(DEMANDS, noise, strict=True)
    ]
    found = fit_contention(samples)
    assert 0.01 < found.error < 0.15
    assert found.contention.knee_bytes_per_s == pytest.approx(60, rel=0.15)
    assert found.contention.slope == pytest.approx(1.5, rel=0.15)


@pytest.mark.parametrize(
    "samples",
    [[], [Sample(10, 0, 1.5)], [Sample(10, 90, 1.0), Sample(10, 50, 0.98)]],
)
def test_samples_that_nothing_slows_determine_no_law(samples):
    with pytest.raises(
        PartitionError, match=r"samples is slowed down by others\. Measure with more"
    ):
        fit_contention(samples)


@pytest.mark.parametrize(
    ("sample", "told"),
    [((0, 1, 1), "no demand"), ((1, -1, 1), "no demand"), ((1, 1, float("nan")), "not a number")],
)
def test_a_sample_that_is_no_measurement_is_an_error(sample, told):
    with pytest.raises(PartitionError, match=told):
        Sample(*sample)
