import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.measure import LatencySummary, measure, percentile
from edgeweave.runtime.pipeline import Pipeline

FRAMES = [{"x": np.full(4, i, np.float32)} for i in range(6)]


@pytest.fixture
def pipeline(packed_diamond):
    with open_bundle(packed_diamond["folder"]) as bundle, Pipeline(bundle) as pipeline:
        yield pipeline


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300), st.sampled_from([50, 90, 99, 99.9]))
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(values, percent):
    found = percentile(values, percent)
    needed = percent / 100 * len(values) - 1e-9
    assert sum(value <= found for value in values) >= needed
    below = [value for value in values if value < found]
    assert not below or sum(value <= max(below) for value in values) < needed


def test_percentiles_of_a_thousand_values_are_their_ranks():
    summary = LatencySummary.of([float(i) for i in range(1000, 0, -1)])
    assert summary == LatencySummary(1000, 500.0, 900.0, 990.0, 999.0, 1000.0)


def test_with_few_values_p99_is_the_maximum():
    summary = LatencySummary.of([3.0, 1.0, 2.0])
    assert (summary.p50_s, summary.p90_s, summary.p99_s, summary.max_s) == (2.0, 3.0, 3.0, 3.0)


def test_a_measurement_holds_what_ran_and_how_long(pipeline):
    result = measure(pipeline, FRAMES, warmup=2)
    assert (result.word, result.frames, result.warmup) == ("measured", 6, 2)
    assert result.latency.count == 6
    assert 0 < result.latency.p50_s <= result.latency.p99_s == result.latency.max_s
    assert (result.misses == 0) == (result.latency.max_s <= pipeline.bundle.manifest.budget_s)
    assert result.interval_s > 0
    assert set(result.busy) == {"cpu0", "cpu1"}
    assert all(0 < share <= 1 for share in result.busy.values())
    assert set(result.stage_s) == set(result.stage_streaming_s) == {"s0", "s1", "s2", "s3"}
    assert sum(result.stage_s.values()) < 10 * result.latency.max_s
    assert all(math.isfinite(seconds) for seconds in result.stage_s.values())


def test_the_interval_is_the_time_between_first_and_last_frame_over_their_number(
    pipeline, monkeypatch
):
    seen = []
    stream = pipeline.stream

    def recorded(frames):
        for result in stream(frames):
            seen.append(result)
            yield result

    monkeypatch.setattr(pipeline, "stream", recorded)
    result = measure(pipeline, FRAMES, warmup=1)
    ends = sorted(r.finished_at for r in seen[-6:])
    assert result.interval_s == pytest.approx((ends[-1] - ends[0]) / 5)


def test_more_warm_up_frames_than_frames_start_over(pipeline):
    assert measure(pipeline, FRAMES[:2], warmup=5).frames == 2


@pytest.mark.parametrize(("count", "warmup"), [(0, 0), (1, 0), (2, -1)])
def test_too_few_frames_are_refused(pipeline, count, warmup):
    with pytest.raises(RuntimeFault, match="measurement"):
        measure(pipeline, FRAMES[:count], warmup)
