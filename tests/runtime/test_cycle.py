import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.cycle import dissect
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.frames import FrameResult

SECONDS = st.floats(0.001, 3.0)


@pytest.fixture(scope="module")
def manifest(packed_diamond):
    """s0 on cpu0, then s1 on cpu1 and s2 on cpu0, then s3 on cpu1."""
    with open_bundle(packed_diamond["folder"]) as bundle:
        return bundle.manifest


def result(frame, admitted, **spans):
    end = spans["s3"][1]
    return FrameResult(frame, {}, end - admitted, spans, end)


# Frame 0 is admitted at 0 and ends at 8, frame 1 is admitted at 1 and ends at 16.
STREAM = [
    result(0, 0.0, s0=(0, 2), s2=(2, 5), s1=(3, 5), s3=(6, 8)),
    result(1, 1.0, s0=(5, 7), s2=(8, 11), s1=(10, 12), s3=(14, 16)),
]


def test_the_first_engine_worked_waited_for_nothing_and_handed_over(manifest):
    cycle = dissect(STREAM, manifest, "cpu0")
    # From 8 to 16: s2 ran until 11, and then nothing was left to run.
    assert (cycle.interval_s, cycle.busy_s, cycle.hand_over_s, cycle.starved_s) == (8, 3, 0, 5)


def test_time_with_a_ready_stage_is_hand_over_and_time_without_is_starvation(manifest):
    cycle = dissect(STREAM, manifest, "cpu1")
    # s1 was ready at 7 and ran from 10 to 12; s3 was ready at 12 and ran from 14 to 16.
    assert (cycle.interval_s, cycle.busy_s, cycle.hand_over_s, cycle.starved_s) == (8, 4, 4, 0)


def test_waiting_for_the_other_engine_is_told_from_the_hand_over_behind_it(manifest):
    late = result(1, 1.0, s0=(9, 10), s2=(10, 13), s1=(11, 12), s3=(15, 16))
    cycle = dissect([STREAM[0], late], manifest, "cpu1")
    # Nothing until 10, s1 a second late; nothing until s2 ends at 13, s3 two seconds late.
    assert (cycle.busy_s, cycle.hand_over_s, cycle.starved_s) == (2, 3, 3)


@given(st.lists(st.tuples(*[SECONDS] * 8), min_size=2, max_size=6))
def test_the_parts_add_up_to_the_interval_and_none_is_negative(manifest, steps):
    free = {"cpu0": 0.0, "cpu1": 0.0}
    results = []
    for frame, numbers in enumerate(steps):
        spans, ends = {}, {}
        for place, stage in enumerate(manifest.stages):
            ready = max((ends[spec.name] for spec in stage.inputs if spec.name in ends), default=0)
            start = max(ready, free[stage.engine]) + numbers[place]
            end = start + numbers[place + 4]
            spans[stage.name] = (start, end)
            ends |= {spec.name: end for spec in stage.outputs}
            free[stage.engine] = end
        results.append(result(frame, 0.0, **spans))
    for engine in free:
        cycle = dissect(results, manifest, engine)
        parts = (cycle.busy_s, cycle.starved_s, cycle.hand_over_s)
        assert sum(parts) == pytest.approx(cycle.interval_s)
        assert min(parts) >= 0


def test_one_frame_has_no_interval(manifest):
    with pytest.raises(RuntimeFault, match="1 frames have no interval"):
        dissect(STREAM[:1], manifest, "cpu0")
