"""One frame in time, with and without contention."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.overlap import Job, run_once

FAIR = Contention(100.0)


@st.composite
def some_jobs(draw: st.DrawFn) -> list[Job]:
    seconds = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])
    return [
        Job(
            draw(st.integers(0, 2)),
            draw(seconds),
            draw(st.sampled_from([0, 30, 200])),
            tuple(i for i in range(k) if draw(st.sampled_from([True, False, False]))),
        )
        for k in range(draw(st.integers(1, 6)))
    ]


def test_jobs_wait_for_their_engine_and_for_what_they_read():
    jobs = [Job(0, 2.0, 0, ()), Job(1, 1.0, 0, ()), Job(1, 1.0, 0, (0,)), Job(0, 1.0, 0, (1,))]
    assert run_once(jobs, 2, None) == [(0, 2), (0, 1), (2, 3), (2, 3)]


def test_jobs_that_overlap_slow_each_other_down_while_they_do():
    # 80 and 60 bytes/s on 100: both take 1.4 times as long until the shorter ends at 1.4.
    jobs = [Job(0, 1.0, 80, ()), Job(1, 2.0, 120, ())]
    times = run_once(jobs, 2, FAIR)
    assert times == [(0, pytest.approx(1.4)), (0, pytest.approx(2.4))]


def test_a_job_that_runs_alone_takes_its_seconds_whatever_it_draws():
    assert run_once([Job(0, 1.0, 500, ()), Job(1, 1.0, 500, (0,))], 2, FAIR) == [(0, 1), (1, 2)]


@settings(deadline=None)
@given(jobs=some_jobs())
def test_a_law_that_slows_nothing_changes_nothing(jobs):
    plain = run_once(jobs, 3, None)
    assert run_once(jobs, 3, Contention(1.0, 0.0)) == [pytest.approx(span) for span in plain]


@settings(deadline=None)
@given(jobs=some_jobs(), slope=st.floats(0, 3))
def test_contention_never_makes_a_frame_end_earlier(jobs, slope):
    plain = run_once(jobs, 3, None)
    slowed = run_once(jobs, 3, Contention(50.0, slope))
    for (start, end), (later, ends), job in zip(plain, slowed, jobs, strict=True):
        assert later >= start - 1e-9
        assert ends >= end - 1e-9
        assert ends - later >= job.seconds - 1e-9
        assert all(later >= slowed[i][1] for i in job.after)
