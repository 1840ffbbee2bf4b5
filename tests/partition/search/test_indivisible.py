from dataclasses import replace
from itertools import permutations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import evaluate
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.fractional import share_work
from edgeweave.partition.search.indivisible import indivisible

FEATURES = ("send", "prices", "feedback", "capacity", "colocated")
CLOSE = 1 + 1e-9


def one_stage_each(table, most):
    """The stages of the regions and the interval of every valid plan, one stage per engine."""
    n, width = len(table.regions), len(table.slots)
    for stage_of in product(range(most), repeat=n):
        if set(stage_of) != set(range(max(stage_of) + 1)):
            continue
        stages = [tuple(r for r in range(n) if stage_of[r] == k) for k in range(max(stage_of) + 1)]
        for slots in permutations(range(width), len(stages)):
            try:
                yield stage_of, evaluate(table, list(zip(slots, stages, strict=True))).interval_s
            except PartitionError:
                continue


def groups_of(problem, most_s):
    return indivisible(problem, share_work(problem), most_s).groups


def test_a_value_dearer_than_the_interval_is_not_cut(make_table):
    far = [[(0.0, 0.0), (5.0, 0.0)], [(5.0, 0.0), (0.0, 0.0)]]
    problem = Problem(make_table([[1.0, 1.0]] * 3, {0: [1], 1: [2]}, transfer=far))
    assert groups_of(problem, 3.0) == ((0, 1, 2),)
    assert groups_of(problem, 9.0) == ((0,), (1,), (2,))


def test_a_value_without_any_link_is_not_cut(make_table):
    alone = [[(0.0, 0.0), None], [None, (0.0, 0.0)]]
    problem = Problem(make_table([[1.0, 1.0]] * 2, {0: [1]}, transfer=alone))
    assert groups_of(problem, 1e9) == ((0, 1),)


def test_free_regions_at_the_ends_join_their_neighbour(make_table):
    costs = [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    problem = Problem(make_table(costs, {0: [1], 1: [2], 2: [3]}))
    assert groups_of(problem, 9.0) == ((0, 1, 2), (3,))


def test_a_free_region_that_belongs_to_another_stays_with_it(make_table):
    costs = [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    problem = Problem(make_table(costs, {0: [1]}, colocated=((1, 2),)))
    assert groups_of(problem, 9.0) == ((0,), (1, 2))


def test_a_free_region_that_fills_memory_is_left_alone(make_table):
    costs = [[1.0, 1.0], [0.0, 0.0]]
    table = make_table(costs, {0: [1]}, memory_bytes=(4, 4), capacity_bytes=(4, 4))
    assert groups_of(Problem(table), 9.0) == ((0,), (1,))


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_the_best_plan_below_the_limit_is_never_lost(all_tables, data):
    table = data.draw(all_tables(max_regions=4, features=FEATURES))
    table = replace(
        table, dram_bytes=(0,) * len(table.regions), engine_stages=(1,) * len(table.engines)
    )
    plans = list(one_stage_each(table, min(3, len(table.engines))))
    if not plans:
        return
    best = min(interval for _, interval in plans)
    most = best * data.draw(st.sampled_from([1.0, 1.001, 1.5, 4.0]))
    items = indivisible(Problem(table), share_work(Problem(table)), most)
    whole = [
        interval
        for stage_of, interval in plans
        if all(len({stage_of[r] for r in group}) == 1 for group in items.groups)
    ]
    assert min(whole, default=float("inf")) <= best * CLOSE
