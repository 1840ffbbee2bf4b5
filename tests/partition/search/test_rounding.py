from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import Source, Transfer
from edgeweave.partition.evaluate import check
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.labelling import Domain, as_arrays
from edgeweave.partition.search.load_bound import bound_loads
from edgeweave.partition.search.rounding import balanced_cuts, rounded_plans

FEATURES = ("send", "feedback")


def whole(problem, slots):
    size = problem.size
    return Domain(slots, np.zeros(size, np.int64), np.full(size, len(slots) - 1, np.int64))


def cuts(problem, slots, start):
    order = np.arange(problem.size)
    return balanced_cuts(as_arrays(problem), whole(problem, slots), order, np.array(start))


def test_a_cut_moves_to_where_the_loads_are_even(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 6, {i: [i + 1] for i in range(5)}))
    assert list(cuts(problem, (0, 1), [6])) == [3]
    assert list(cuts(problem, (0, 1), [0])) == [3]


def test_two_stages_of_one_engine_count_together(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 6, {i: [i + 1] for i in range(5)}))
    first, last = cuts(problem, (0, 1, 0), [1, 2])
    assert last - first == 3


def test_a_cut_avoids_refusals_even_where_all_costs_are_0(make_table):
    problem = Problem(make_table([[0.0, None], [0.0, 0.0]], {0: [1]}))
    assert list(cuts(problem, (0, 1), [0])) != [0]


def test_refusals_that_no_cut_avoids_leave_no_plan(make_table):
    problem = Problem(make_table([[None, 1.0], [1.0, None]], {0: [1]}))
    assert cuts(problem, (0, 1), [1]) is None


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_every_plan_is_legal_but_for_links(all_tables, data):
    table = data.draw(all_tables(max_regions=8, features=FEATURES))
    free = Transfer(0.0, 0.0, Source.GIVEN)
    linked = tuple(tuple(link or free for link in row) for row in table.transfers)
    problem = Problem(replace(table, transfers=linked))
    slots = data.draw(st.lists(st.integers(0, problem.width - 1), min_size=1, max_size=4))
    domain = whole(problem, tuple(slots))
    arrays = as_arrays(problem)
    found = bound_loads(arrays, domain, [1.0] * len(problem.engines), float("inf"))
    if not found.labellings:
        assert found.value == pytest.approx(float("inf"))
        return
    plans = list(rounded_plans(arrays, domain, found))
    assert plans
    for stages in plans:
        check(problem, stages)
        assert len(stages) <= len(slots)
