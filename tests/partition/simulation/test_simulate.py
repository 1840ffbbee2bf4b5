"""The discrete-event run: against evaluate, against a plain simulation, and by its own laws."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import CostTable
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import Schedule, evaluate
from edgeweave.partition.heuristics.baselines import valid
from edgeweave.partition.heuristics.staging import cut_into_stages
from edgeweave.partition.overlap import Job, run_once
from edgeweave.partition.plan import Stage
from edgeweave.partition.problem import Problem
from edgeweave.partition.simulation.plan_jobs import plan_jobs
from edgeweave.partition.simulation.simulate import simulate
from edgeweave.partition.simulation.stream import JitterLaw, Stream

ENGINES = ("a", "b", "c")
LAW = Contention(50.0, 1.5)


@st.composite
def some_jobs(draw: st.DrawFn, least_s: float = 0.0) -> tuple[Job, ...]:
    seconds = st.sampled_from([least_s, 0.5, 1.0, 2.0, 3.5])
    return tuple(
        Job(
            draw(st.integers(0, 2)),
            draw(seconds),
            draw(st.sampled_from([0, 30, 200])),
            tuple(i for i in range(k) if draw(st.sampled_from([True, False, False]))),
        )
        for k in range(draw(st.integers(1, 5)))
    )


def chain(*work: tuple[int, float]) -> tuple[Job, ...]:
    return tuple(Job(e, s, 0, (k - 1,) if k else ()) for k, (e, s) in enumerate(work))


def in_order_of_index(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Each stage also behind the one before it on its engine, as in the plan."""
    last: dict[int, int] = {}
    ordered = []
    for k, job in enumerate(jobs):
        before = {last[job.engine]} if job.engine in last else set()
        ordered.append(replace(job, after=tuple(sorted(before | set(job.after)))))
        last[job.engine] = k
    return tuple(ordered)


def one(stream: Stream, contention: Contention | None = None, seed: int = 0):
    run = simulate([stream], ENGINES, contention, seed=seed)
    return run, run.streams[0]


def load(jobs: Sequence[Job]) -> float:
    return max(sum(j.seconds for j in jobs if j.engine == e) for e in range(3))


@pytest.mark.parametrize("contention", [None, LAW])
@settings(deadline=None)
@given(jobs=some_jobs())
def test_one_frame_takes_what_the_plan_says(contention, jobs):
    jobs = in_order_of_index(jobs)
    _, run = one(Stream("s", jobs, 1), contention)
    expected = max(end for _, end in run_once(jobs, 3, contention))
    assert run.latency.max_s == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(jobs=some_jobs())
def test_a_chain_needs_no_order_of_its_own(jobs):
    jobs = tuple(replace(job, after=(k - 1,) if k else ()) for k, job in enumerate(jobs))
    _, run = one(Stream("s", jobs, 1), LAW)
    assert run.latency.max_s == sum(job.seconds for job in jobs)


def test_an_engine_does_not_wait_for_an_earlier_stage_that_is_not_ready():
    """As the runtime; a plan's numbers keep the order of the stages and state 8 s here."""
    jobs = (Job(0, 3.0, 0, ()), Job(1, 1.0, 0, (0,)), Job(1, 4.0, 0, ()))
    assert max(end for _, end in run_once(jobs, 3, None)) == 8.0
    assert one(Stream("s", jobs, 1))[1].latency.max_s == 5.0


@settings(deadline=None)
@given(data=st.data())
def test_a_plan_runs_as_predicted(tables, data):
    table = replace(data.draw(tables()), dram_bytes_per_s=1e9)  # so that it bounds no interval
    problem = Problem(table)
    takers = [[s for s, c in enumerate(row) if c < float("inf")] for row in problem.seconds]
    slots = [data.draw(st.sampled_from(row)) for row in takers]
    plan = valid(problem, cut_into_stages(problem, slots))
    if plan is None:
        return
    jobs = plan_jobs(planned(table, plan), table.values, table.dram_bytes, table.engines)
    run = simulate([Stream("s", in_order_of_index(jobs), 1)], table.engines)
    assert run.streams[0].latency.max_s == pytest.approx(plan.latency_s)
    assert sum(job.nbytes for job in jobs) == sum(table.dram_bytes)
    run = simulate([Stream("s", jobs, 40, depth=20)], table.engines)
    assert run.elapsed_s >= 40 * max(plan.engine_s.values()) * (1 - 1e-9)


def planned(table: CostTable, schedule: Schedule) -> list[Stage]:
    return [
        Stage(
            k,
            table.slots[stage.slot],
            stage.regions,
            stage.compute_s,
            stage.transfer_s,
            stage.start_s,
            stage.end_s,
            {},
        )
        for k, stage in enumerate(schedule.stages)
    ]


def plain(jobs: Sequence[Job], frames: int, depth: int, period: float | None) -> list[float]:
    """When each frame ends: every pass starts what may start, then time goes to the next event."""
    arrived = [0.0 if period is None else k * period for k in range(frames)]
    end = [[None] * len(jobs) for _ in range(frames)]
    started: set[tuple[int, int]] = set()
    admitted, now = 0, 0.0
    while True:
        over = [all(e is not None and e <= now for e in row) for row in end]
        taken = over.index(False) if False in over else frames
        if taken == frames:
            return [max(row) for row in end]
        while admitted < frames and admitted - taken < depth and arrived[admitted] <= now:
            admitted += 1
        for engine in range(3):
            for f, k in sorted((f, k) for f in range(admitted) for k in range(len(jobs))):
                running = any(jobs[j].engine == engine and end[g][j] > now for g, j in started)
                ready = all(end[f][i] is not None and end[f][i] <= now for i in jobs[k].after)
                if jobs[k].engine == engine and (f, k) not in started and ready and not running:
                    started.add((f, k))
                    end[f][k] = now + jobs[k].seconds
        events = [e for row in end for e in row if e is not None and e > now]
        events += [a for a in arrived[admitted:] if a > now]
        now = min(events)


@settings(max_examples=30, deadline=None)
@given(
    jobs=some_jobs(least_s=0.25),
    frames=st.integers(1, 6),
    depth=st.integers(1, 4),
    period=st.sampled_from([None, 0.5, 1.0, 4.0]),
)
def test_a_plain_simulation_ends_every_frame_at_the_same_time(jobs, frames, depth, period):
    stream = Stream("s", jobs, frames, period_s=period, depth=depth)
    _, run = one(stream)
    ends, gone = [], 0.0
    for end in plain(jobs, frames, depth, period):
        gone = max(gone, end)
        ends.append(gone)
    if period is None:
        assert sum(run.response_s) == pytest.approx(
            sum(end - at for end, at in zip(ends, [0.0] * depth + ends[:-depth], strict=False))
        )
    else:
        arrived = [k * period for k in range(frames)]
        assert list(run.response_s) == pytest.approx(
            [end - at for end, at in zip(ends, arrived, strict=True)]
        )


@settings(deadline=None)
@given(jobs=some_jobs(least_s=0.25))
def test_a_full_pipeline_leaves_a_frame_per_load_of_its_longest_engine(jobs):
    """With frames enough in flight, but for filling and emptying it; never faster."""
    least = 200 * load(jobs)
    run = simulate([Stream("s", jobs, 200, depth=40)], ENGINES)
    assert least * (1 - 1e-9) <= run.elapsed_s
    assert run.elapsed_s <= least + sum(job.seconds for job in jobs) * (1 + 1e-9)
    assert run.busy[run.engine] * run.elapsed_s == pytest.approx(least)


def test_too_few_frames_in_flight_leave_the_longest_engine_idle():
    jobs = chain((0, 1.0), (1, 1.0), (2, 1.0))
    intervals = [one(Stream("s", jobs, 50, depth=d))[1].interval_s for d in (1, 2, 3)]
    assert intervals == pytest.approx([3.0, 1.5, 1.0], rel=0.02)


def test_depth_is_one_more_than_the_engines_in_use():
    assert one(Stream("s", chain((0, 1.0), (2, 1.0)), 9))[1].most_in_flight == 3


@settings(deadline=None)
@given(jobs=some_jobs(least_s=0.25), contention=st.sampled_from([None, LAW]), slack=st.floats(0, 2))
def test_frames_that_do_not_meet_take_what_one_takes(jobs, contention, slack):
    alone = one(Stream("s", jobs, 1), contention)[1].latency.max_s
    stream = Stream("s", jobs, 20, period_s=alone + slack + 1e-6, deadline_s=alone)
    run = one(stream, contention)[1]
    assert list(run.response_s) == pytest.approx([alone] * 20)
    assert run.interval_s == pytest.approx(stream.period_s)
    assert (run.misses, run.dropped, run.held) == (0, 0, 0)


@settings(deadline=None)
@given(
    jobs=some_jobs(),
    frames=st.integers(1, 40),
    period=st.sampled_from([None, 0.5, 2.0, 5.0]),
    jitter=st.floats(0, 3),
    law=st.sampled_from(JitterLaw),
    depth=st.integers(1, 5),
    drop=st.booleans(),
    spread=st.sampled_from([0.0, 0.3]),
    contention=st.sampled_from([None, LAW]),
)
def test_what_holds_for_every_run(
    jobs, frames, period, jitter, law, depth, drop, spread, contention
):
    more = {} if period is None else {"jitter_s": jitter, "jitter_law": law, "drop": drop}
    stream = Stream("s", jobs, frames, period, depth=depth, spread=spread, deadline_s=4.0, **more)
    whole, run = one(stream, contention, seed=3)
    assert run.delivered + run.dropped == frames
    assert run.delivered == len(run.response_s)
    assert 1 <= run.most_in_flight <= depth
    assert all(0 <= share <= 1 + 1e-9 for share in whole.busy.values())
    assert run.misses == sum(seconds > 4.0 * (1 + 1e-9) for seconds in run.response_s)
    assert run.dropped == 0 or drop
    assert run.held == 0 or not drop
    assert whole.busy[whole.engine] == max(whole.busy.values())
    assert ENGINES[jobs[whole.stage[1]].engine] == whole.engine
    assert all(stage.slowdown >= 1 - 1e-9 for stage in run.stages)
    assert one(stream, contention, seed=3)[0] == whole


@settings(deadline=None)
@given(jobs=some_jobs(least_s=0.25), frames=st.integers(2, 20))
def test_contention_never_shortens_the_work_of_an_engine(jobs, frames):
    calm, slowed = (simulate([Stream("s", jobs, frames)], ENGINES, c) for c in (None, LAW))
    assert slowed.elapsed_s * sum(slowed.busy.values()) >= calm.elapsed_s * sum(
        calm.busy.values()
    ) * (1 - 1e-9)


def test_two_engines_that_share_a_memory_deliver_no_more_than_it_gives():
    jobs = (Job(0, 1.0, 80, ()), Job(1, 1.0, 80, (0,)))
    run = simulate([Stream("s", jobs, 200)], ENGINES, Contention(100.0), 100.0)
    assert run.streams[0].interval_s == pytest.approx(1.6)
    assert run.memory == pytest.approx(1.0, rel=0.01)
    assert run.streams[0].stages[1].slowdown == pytest.approx(1.6, rel=0.01)


@settings(deadline=None)
@given(jobs=some_jobs(least_s=0.25))
def test_a_fair_share_never_delivers_more_than_the_bandwidth(jobs):
    jobs = tuple(replace(job, nbytes=min(job.nbytes, int(100 * job.seconds))) for job in jobs)
    run = simulate([Stream("s", jobs, 30)], ENGINES, Contention(100.0), 100.0)
    assert run.memory <= 1 + 1e-9
    assert simulate([Stream("s", jobs, 30)], ENGINES).memory is None


def test_another_seed_draws_other_times_and_jitter_alike_for_both_policies():
    stream = Stream("s", chain((0, 1.0), (1, 1.0)), 200, 1.2, jitter_s=1.0, spread=0.2)
    first, other = (one(stream, seed=seed)[1] for seed in (0, 1))
    assert first.response_s != other.response_s
    dropping = one(replace(stream, drop=True))[1]
    assert dropping.dropped > 0
    assert dropping.response.max_s < first.response.max_s


def test_a_spread_keeps_the_mean_and_has_the_stated_deviation():
    stream = Stream("s", chain((0, 1.0)), 20_000, 100.0, spread=0.25)
    seconds = one(stream)[1].response_s
    assert statistics.mean(seconds) == pytest.approx(1, rel=0.01)
    assert statistics.stdev(seconds) == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize(("law", "deviation"), [("uniform", 1 / 3**0.5), ("normal", 1.0)])
def test_arrivals_scatter_by_their_law(law, deviation):
    stream = Stream("s", chain((0, 0.0)), 20_000, 100.0, 50.0, 1.0, JitterLaw(law))
    from random import Random

    moved = [at - 50.0 - 100.0 * k for k, at in enumerate(stream.arrivals(Random(1)))]
    assert statistics.mean(moved) == pytest.approx(0, abs=0.03)
    assert statistics.stdev(moved) == pytest.approx(deviation, rel=0.05)
    assert law == "normal" or max(map(abs, moved)) <= 1.0


def test_measured_samples_are_drawn_row_by_row():
    rows = ((1.0, 10.0), (2.0, 20.0))
    run = one(Stream("s", chain((0, 9.0), (1, 9.0)), 100, 50.0, samples=rows))[1]
    assert {round(seconds, 6) for seconds in run.response_s} == {11.0, 22.0}


def test_streams_share_engines_by_priority_and_keep_their_own_numbers():
    slow = Stream("slow", chain((0, 4.0)), 20, 10.0)
    quick = Stream("quick", chain((0, 1.0)), 40, 5.0, 0.5, deadline_s=1.0)
    equal = simulate([slow, quick], ENGINES).streams
    assert [run.delivered for run in equal] == [20, 40]
    # A frame that arrives while the slow stage runs waits for its end: stages are not broken off.
    assert equal[1].response.max_s == 4.5
    assert equal[1].misses == 20
    third = Stream("third", chain((0, 1.0)), 20, 10.0, 0.2, priority=0)
    first = replace(third, priority=1)
    behind, ahead = (
        simulate([slow, quick, x], ENGINES).streams for x in (replace(third, offset_s=0.6), first)
    )
    assert behind[2].response.max_s == pytest.approx(5.4)  # after the slow and the quick one
    assert ahead[2].response.max_s == pytest.approx(4.8)
    assert ahead[1].response.max_s == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"jobs": ()}, "has 0 stages and 5 frames"),
        ({"frames": 0}, "has 1 stages and 0 frames"),
        ({"jobs": (Job(0, 1.0, 0, (0,)),)}, "stage 0 reads from stages [0]"),
        ({"jobs": (Job(0, float("nan"), 0, ()),)}, "stage 0 cannot run"),
        ({"jobs": (Job(-1, 1.0, 0, ()),)}, "stage 0 cannot run"),
        ({"period_s": 0.0}, "its period of 0.0 s is not a positive duration"),
        ({"deadline_s": -1.0}, "its deadline of -1.0 s is not"),
        ({"offset_s": float("inf")}, "its offset of inf is not"),
        ({"jitter_s": -1.0}, "its jitter of -1.0 is not"),
        ({"spread": float("nan")}, "its spread of nan is not"),
        ({"depth": 0}, "a queue depth of 0 lets no frame in"),
        ({"drop": True}, "only frames that arrive with a period can"),
        ({"jitter_s": 1.0}, "only frames that arrive with a period can"),
        ({"samples": ((1.0, 2.0),)}, "a sample does not hold 1 stages"),
        ({"samples": ((-1.0,),)}, "a sample is not a duration"),
        ({"samples": ((1.0,),), "spread": 0.1}, "have their own spread. Leave out the spread"),
    ],
)
def test_a_stream_that_cannot_be_is_an_error(wrong, told):
    fields = {"name": "s", "jobs": chain((0, 1.0)), "frames": 5} | wrong
    with pytest.raises(PartitionError) as caught:
        Stream(**fields)
    assert str(caught.value).startswith("stream s: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("streams", "told"),
    [
        ([], "simulation: it has no stream"),
        ([Stream("s", chain((0, 1.0)), 1)] * 2, "simulation: two streams have one name"),
        ([Stream("s", chain((3, 1.0)), 1)], "stream s: stage 0 is on engine 3 of 3"),
    ],
)
def test_a_simulation_that_cannot_be_is_an_error(streams, told):
    with pytest.raises(PartitionError) as caught:
        simulate(streams, ENGINES)
    assert str(caught.value).startswith(told)


def test_a_plan_and_the_costs_of_another_are_an_error(make_table):
    table = make_table([[1.0], [1.0]], {0: [1]})
    stages = planned(table, evaluate(table, [(0, (0, 1))]))
    with pytest.raises(PartitionError, match="it places 2 regions and the costs are of 1"):
        plan_jobs(stages, (), (0,), table.engines)
    with pytest.raises(PartitionError, match="no engine is called 'e0'"):
        plan_jobs(stages, table.values, table.dram_bytes, ("other",))


def test_a_run_is_plain_data():
    run = asdict(one(Stream("s", chain((0, 1.0)), 2))[0])
    assert run["stage"] == ("s", 0)
    assert run["streams"][0]["latency"]["count"] == 2
