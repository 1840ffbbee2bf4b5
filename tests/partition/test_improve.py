from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.baselines import baselines
from edgeweave.partition.evaluate import check, schedule
from edgeweave.partition.improve import polish, relocations, stage_moves
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.problem import Problem


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_every_relocation_and_stage_move_is_a_valid_plan(tables, data):
    problem = Problem(data.draw(tables(max_regions=8)))
    for baseline in baselines(problem, Request()):
        if baseline.schedule is None:
            continue
        plan = baseline.schedule.assignment
        slot_of = {r: s for s, regions in plan for r in regions}
        for changed in stage_moves(problem, plan):
            check(problem, changed)
        for region in range(problem.size):
            for slot in range(problem.width):
                for changed in relocations(problem, plan, region, slot):
                    check(problem, changed)
                    now = {r: s for s, regions in changed for r in regions}
                    assert now == {**slot_of, region: slot}


def test_a_region_inside_a_stage_splits_it(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 3, {0: [1], 1: [2]}))
    assert list(relocations(problem, [(0, (0, 1, 2))], 1, 1)) == [((0, (0,)), (1, (1,)), (0, (2,)))]


def test_polishing_balances_two_engines(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 6, {r: [r + 1] for r in range(5)}))
    start = schedule(problem, [(0, (0,)), (1, (1, 2, 3, 4, 5))])
    end = perf_counter() + 10
    better = polish(problem, start, Objective.INTERVAL, 2, lambda plan: True, end)
    assert better.interval_s == 3.0
    kept = polish(problem, start, Objective.INTERVAL, 2, lambda plan: False, end)
    assert kept == start


def test_polishing_stops_at_the_deadline(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 6, {r: [r + 1] for r in range(5)}))
    start = schedule(problem, [(0, (0,)), (1, (1, 2, 3, 4, 5))])
    assert polish(problem, start, Objective.INTERVAL, 2, lambda plan: True, 0.0) == start
