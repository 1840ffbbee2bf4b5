from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import schedule
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.labelling import Domain, as_arrays
from edgeweave.partition.search.load_bound import LoadBound, bound_loads

FEATURES = ("send", "prices", "feedback")
CLOSE = 1 + 1e-9


def whole(problem, slots):
    size = problem.size
    return Domain(slots, np.zeros(size, np.int64), np.full(size, len(slots) - 1, np.int64))


def largest_loads(problem, domain):
    """The largest load of every plan in the domain that uses all stages."""
    for labels in product(*(range(a, b + 1) for a, b in zip(domain.low, domain.high, strict=True))):
        if any(labels[a] > labels[b] for a, b in problem.edges):
            continue
        if len(set(labels)) < len(domain.slots):
            continue
        stages = [tuple(np.flatnonzero(np.array(labels) == k)) for k in range(len(domain.slots))]
        plan = schedule(problem, list(zip(domain.slots, stages, strict=True)))
        yield max(plan.engine_s.values())


def bound(problem, domain, weights=None, enough_s=INFINITY):
    even = [1 / len(problem.engines)] * len(problem.engines)
    return bound_loads(as_arrays(problem), domain, weights or even, enough_s)


def test_weights_are_moved_to_the_engine_in_short_supply(make_table):
    problem = Problem(make_table([[8.0, None], [1.0, 1.0]], {0: [1]}))
    found = bound(problem, whole(problem, (0, 1)))
    assert found.value == pytest.approx(8.0)
    assert found.weights[0] > 0.8


def test_more_rounds_stop_when_the_bound_is_enough(make_table):
    problem = Problem(make_table([[8.0, None], [1.0, 1.0]], {0: [1]}))
    assert len(bound(problem, whole(problem, (0, 1)), enough_s=2.0).labellings) == 1


def test_what_cannot_be_done_on_these_slots_has_an_infinite_bound(make_table):
    problem = Problem(make_table([[None, 1.0], [1.0, None]], {0: [1]}))
    found = bound(problem, whole(problem, (0, 1)))
    assert found == LoadBound(INFINITY, (0.5, 0.5), (), ())


def test_engines_without_a_stage_get_no_weight(make_table):
    problem = Problem(make_table([[3.0, 1.0, 1.0]], {}))
    found = bound(problem, whole(problem, (0,)), [0.0, 0.5, 0.5])
    assert found.value == pytest.approx(3.0)
    assert found.weights == (1.0, 0.0, 0.0)


def test_the_mean_stage_of_a_mixture_never_falls_along_an_edge(make_table):
    costs = [[1.0, 1.1, 0.9]] * 7
    edges = {i: [i + 1] for i in range(6)}
    problem = Problem(make_table(costs, edges))
    found = bound(problem, whole(problem, (0, 1, 2)))
    assert len(found.labellings) > 1
    assert sum(found.shares) == pytest.approx(1)
    assert (np.diff(found.mean_labels()) >= 0).all()


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_plan_in_the_domain_has_a_smaller_largest_load(all_tables, data):
    table = data.draw(all_tables(max_regions=5, features=FEATURES))
    problem = Problem(replace(table, dram_bytes=(0,) * len(table.regions)))
    slots = data.draw(st.lists(st.integers(0, problem.width - 1), min_size=1, max_size=3))
    domain = whole(problem, tuple(slots))
    found = bound(problem, domain)
    for largest in largest_loads(problem, domain):
        assert found.value <= largest * CLOSE
    assert all((np.diff(labelling.labels[list(edge)]) >= 0).all()
               for labelling in found.labellings for edge in problem.edges)  # fmt: skip
