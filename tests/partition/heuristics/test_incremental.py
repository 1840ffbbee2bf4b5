"""Sums that follow single moves give what the whole evaluation gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import broken_constraint, check, schedule
from edgeweave.partition.heuristics.incremental import Placed
from edgeweave.partition.heuristics.staging import cut_into_stages
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem


def _random_stages(data, problem):
    """A choice of slots, refusals and missing links included, cut into stages."""
    slots = [data.draw(st.integers(0, problem.width - 1)) for _ in range(problem.size)]
    return cut_into_stages(problem, slots)


def _is_broken(problem, stages):
    slot_of = {r: slot for slot, regions in stages for r in regions}
    return (
        any(problem.seconds[r][slot] == INFINITY for r, slot in slot_of.items())
        or any(
            problem.price[i][slot_of[v.producer]][slot_of[c]] == INFINITY
            for i, v in enumerate(problem.values)
            for c in v.consumers
        )
        or broken_constraint(problem, stages) is not None
    )


def _same(state, problem):
    stages = state.assignment()
    assert state.is_broken == _is_broken(problem, stages)
    if state.is_broken:
        return
    check(problem, stages)
    whole, ours = schedule(problem, stages), state.schedule()
    numbers = state.numbers()
    for objective in Objective:
        assert numbers.value(objective) == pytest.approx(whole.value(objective))
        assert ours.value(objective) == pytest.approx(whole.value(objective))
    assert state.interval_s() == pytest.approx(whole.interval_s)
    assert numbers.stages == len(whole.stages)
    assert ours.engine_s == pytest.approx(whole.engine_s)
    for a, b in zip(ours.stages, whole.stages, strict=True):
        assert (a.slot, a.regions) == (b.slot, b.regions)
        for name in ("compute_s", "transfer_s", "start_s", "end_s"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_moves_leave_the_numbers_of_the_whole_evaluation(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=8)))
    state = Placed(problem, _random_stages(data, problem))
    _same(state, problem)
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            slot = data.draw(st.integers(0, problem.width - 1))
            state.open_stage(slot, data.draw(st.integers(0, len(state.order))))
        region = data.draw(st.integers(0, problem.size - 1))
        at = state.position
        low = max((at[state.stage_of[p]] for p in problem.predecessors[region]), default=0)
        high = min(
            (at[state.stage_of[c]] for c in problem.successors[region]),
            default=len(state.order) - 1,
        )
        target = state.order[data.draw(st.integers(low, high))]
        before = state.assignment()
        if data.draw(st.booleans()):
            state.tried(region, target)
            assert state.assignment() == before
        else:
            state.move(region, target)
        _same(state, problem)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_is_tried_and_taken_back_leaves_no_trace_of_rounding(all_tables, data):
    problem = Problem(data.draw(all_tables(max_regions=8)))
    state = Placed(problem, _random_stages(data, problem))
    if state.is_broken:
        return
    before = state.schedule()
    for region in range(problem.size):
        with state.trial():
            slot = data.draw(st.integers(0, problem.width - 1))
            new = state.open_stage(slot, 0)
            here = state.stage_of[region]
            state.move(region, new)
            state.move(region, here)
            state.close_stages([new])
    assert state.schedule() == before


def test_a_stage_that_holds_regions_is_not_closed(make_table):
    state = Placed(Problem(make_table([[1.0]], {})), [(0, (0,))])
    with pytest.raises(ValueError, match="holds regions"):
        state.close_stages([0])
