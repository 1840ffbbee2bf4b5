"""Bounds on responses: by hand where that is easy, against simulated runs everywhere else."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.overlap import Job, run_once
from edgeweave.partition.several.response_time import (
    INFINITY,
    Flow,
    give_up_s,
    response_times,
)
from edgeweave.partition.simulation.simulate import simulate
from edgeweave.partition.simulation.stream import Stream

ENGINES = ("a", "b", "c")
LAW = Contention(50.0, 1.5)


def alone(jobs: tuple[Job, ...], law: Contention | None = None) -> float:
    return simulate([Stream("alone", jobs, 1)], ENGINES, law).streams[0].response_s[0]


def flow(*work: tuple[int, float], period: float | None = None) -> Flow:
    """A chain of (engine, seconds)."""
    jobs = tuple(Job(e, s, 0, (k - 1,) if k else ()) for k, (e, s) in enumerate(work))
    return Flow(jobs, period, alone(jobs))


@st.composite
def systems(draw: st.DrawFn) -> tuple[list[Flow], Contention | None, Random]:
    """Flows on shared engines: chains and others, with and without periods, contention or not."""
    rng = Random(draw(st.integers(0, 2**32 - 1)))
    law = rng.choice([None, None, LAW])
    flows = []
    for _ in range(rng.randint(1, 3)):
        jobs = tuple(
            Job(
                rng.randrange(3),
                rng.choice([0.0, 0.5, 1.0, 2.0, 3.5, 3 * rng.random()]),
                rng.choice([0, 30, 200]) if law else 0,
                _after(rng, k),
            )
            for k in range(rng.randint(1, 4))
        )
        period = rng.choice([None, 4.0, 6.0, 8.5, 10.0, 14.0, 25.0, 40.0, 1 + 20 * rng.random()])
        flows.append(Flow(jobs, period, alone(jobs, law)))
    return flows, law, rng


def _after(rng: Random, k: int) -> tuple[int, ...]:
    found = tuple(i for i in range(k) if rng.random() < 0.4)
    return found or ((k - 1,) if k and rng.random() < 0.7 else ())


def worst(flows: list[Flow], law: Contention | None, offsets: list[float]) -> list[float]:
    """The longest simulated response of each, the first with the highest priority."""
    streams = [
        Stream(
            name=str(m),
            jobs=own.jobs,
            frames=50,
            period_s=own.period_s,
            offset_s=offsets[m],
            depth=1 if own.period_s is None else 10**6,
            priority=-m,
        )
        for m, own in enumerate(flows)
    ]
    return [max(run.response_s) for run in simulate(streams, ENGINES, law).streams]


@settings(max_examples=300, deadline=None)
@given(systems())
def test_no_simulated_response_exceeds_its_bound(system):
    flows, law, rng = system
    bounds = response_times(flows, law)
    for _ in range(3):
        offsets = [rng.choice([0.0, 0.0, 1.0, 2.0, 10 * rng.random()]) for _ in flows]
        for seen, bound in zip(worst(flows, law, offsets), bounds, strict=True):
            assert seen <= bound * (1 + 1e-9)


@settings(max_examples=150, deadline=None)
@given(systems())
def test_one_model_alone_takes_what_it_takes_alone(system):
    (own, *_), law, _ = system
    for period in (None, own.alone_s + 0.1):
        single = replace(own, period_s=period)
        assert response_times([single], law) == [pytest.approx(own.alone_s)]


@settings(max_examples=100, deadline=None)
@given(systems())
def test_a_chain_alone_takes_the_latency_of_its_plan(system):
    (own, *_), _, _ = system
    jobs = tuple(replace(job, after=(k - 1,) if k else ()) for k, job in enumerate(own.jobs))
    (bound,) = response_times([Flow(jobs, None, alone(jobs))])
    assert bound == pytest.approx(max(end for _, end in run_once(jobs, 3, None)))


@settings(max_examples=150, deadline=None)
@given(systems(), st.integers(0, 3))
def test_bounds_grow_with_every_flow_that_is_added(system, place):
    flows, law, _ = system
    added = [*flows[:place], flow((0, 1.0), (1, 0.5), period=20.0), *flows[place:]]
    more = response_times(added, law)
    kept = more[:place] + more[place + 1 :]
    for fewer, after in zip(response_times(flows, law), kept, strict=False):
        assert fewer <= after * (1 + 1e-9) or after > give_up_s(flows, law)


def test_a_lower_priority_blocks_once_per_visit():
    urgent = flow((0, 1.0), (1, 2.0), (0, 1.0), period=100.0)
    late = flow((0, 5.0), period=100.0)
    assert response_times([urgent, late])[0] == pytest.approx(4.0 + 2 * 5.0)


def test_a_higher_priority_goes_first_as_often_as_it_arrives():
    often, late = flow((0, 1.0), period=10.0), flow((0, 5.0), period=100.0)
    # what has begun is finished, so the first waits as well
    assert response_times([often, late]) == [pytest.approx(6.0), pytest.approx(6.0)]
    long = flow((0, 4.0), (0, 4.0), (0, 4.0), period=100.0)
    assert response_times([often, long])[1] == pytest.approx(12.0 + 2 * 1.0)


def test_stages_on_engines_of_their_own_do_not_matter():
    first, second = flow((0, 1.0), (1, 2.0), period=10.0), flow((2, 7.0), period=10.0)
    assert response_times([first, second]) == [3.0, 7.0]


def test_a_full_pipeline_does_not_wait_for_itself():
    assert response_times([flow((0, 0.9), (1, 0.9), (2, 0.9), period=1.0)]) == [pytest.approx(2.7)]


def test_too_much_work_has_no_bound():
    busy, late = flow((0, 6.0), period=10.0), flow((0, 3.9), period=9.0)
    assert response_times([busy, late]) == [pytest.approx(9.9), INFINITY]
    assert response_times([flow((0, 2.0), period=1.0)]) == [INFINITY]


def test_what_never_pauses_leaves_nothing_to_lower_priorities():
    assert response_times([flow((0, 1.0)), flow((0, 1.0), period=10.0)])[1] == INFINITY


def test_traffic_beside_a_model_makes_its_bound_longer():
    jobs = (Job(0, 1.0, 50, ()),)
    beside = Flow((Job(1, 1.0, 50, ()),), 10.0, 1.0)
    assert response_times([Flow(jobs, 10.0, 1.0), beside])[0] == 1.0
    assert response_times([Flow(jobs, 10.0, 1.0), beside], LAW)[0] == pytest.approx(2.5)
