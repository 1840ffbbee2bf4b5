from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import schedule
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.labelling import Domain, as_arrays, cheapest_labelling

FEATURES = ("send", "prices", "feedback")
CLOSE = 1 + 1e-9


def whole(problem, slots):
    size = problem.size
    return Domain(slots, np.zeros(size, np.int64), np.full(size, len(slots) - 1, np.int64))


def labellings(problem, domain):
    """Every legal labelling in the domain that avoids the refusals."""
    for labels in product(*(range(a, b + 1) for a, b in zip(domain.low, domain.high, strict=True))):
        if any(labels[a] > labels[b] for a, b in problem.edges):
            continue
        if all(problem.seconds[r][domain.slots[k]] < INFINITY for r, k in enumerate(labels)):
            yield labels


def loads_of(problem, slots, labels):
    """What each engine is busy, for a labelling that uses all stages."""
    stages = [tuple(r for r, k in enumerate(labels) if k == stage) for stage in range(len(slots))]
    busy = schedule(problem, list(zip(slots, stages, strict=True))).engine_s
    return [busy[engine] for engine in problem.engines]


@st.composite
def domains(draw, problem, longest=3):
    """A sequence of slots with neighbours unlike, and limits that do not fall along an edge."""
    slots = draw(st.lists(st.integers(0, problem.width - 1), min_size=1, max_size=longest))
    slots = tuple(s for i, s in enumerate(slots) if i == 0 or s != slots[i - 1])
    stage = st.sampled_from([0, 0, *range(len(slots))])
    low = [draw(stage) for _ in range(problem.size)]
    high = [len(slots) - 1 - draw(stage) for _ in range(problem.size)]
    for a, b in problem.edges:
        low[b] = max(low[a], low[b])
    for a, b in reversed(problem.edges):
        high[a] = min(high[a], high[b])
    high = [max(pair) for pair in zip(low, high, strict=True)]
    for a, b in problem.edges:
        high[b] = max(high[a], high[b])
    return Domain(slots, np.array(low), np.array(high))


@st.composite
def weights(draw, count):
    drawn = [draw(st.integers(0, 4)) for _ in range(count)]
    return [w / (sum(drawn) or 1) for w in drawn]


def test_each_region_goes_where_it_is_cheapest(make_table):
    problem = Problem(make_table([[1.0, 9.0], [9.0, 1.0]], {0: [1]}))
    found = cheapest_labelling(as_arrays(problem), whole(problem, (0, 1)), (0.5, 0.5))
    assert list(found.labels) == [0, 1]
    assert found.value == pytest.approx(1.0)
    assert found.loads == pytest.approx([1.0, 1.0])


def test_a_dear_value_keeps_its_ends_together(make_table):
    far = [[(0.0, 0.0), (20.0, 0.0)], [(20.0, 0.0), (0.0, 0.0)]]
    problem = Problem(make_table([[1.0, 9.0], [9.0, 1.0]], {0: [1]}, transfer=far))
    found = cheapest_labelling(as_arrays(problem), whole(problem, (0, 1)), (0.5, 0.5))
    assert found.labels[0] == found.labels[1]


def test_what_only_fits_in_the_wrong_order_has_no_labelling(make_table):
    problem = Problem(make_table([[None, 1.0], [1.0, None]], {0: [1]}))
    found = cheapest_labelling(as_arrays(problem), whole(problem, (0, 1)), (0.5, 0.5))
    assert found.value == INFINITY


def test_a_price_far_above_all_costs_forbids_nothing_else(make_table):
    far = [[(0.0, 0.0), (1e9, 0.0)], [(1e9, 0.0), (0.0, 0.0)]]
    problem = Problem(make_table([[1e-6, 2e-6], [1e-6, None]], {0: [1]}, transfer=far))
    found = cheapest_labelling(as_arrays(problem), whole(problem, (1, 0)), (0.5, 0.5))
    assert list(found.labels) == [1, 1]


def test_an_engine_of_no_weight_is_still_refused(make_table):
    problem = Problem(make_table([[None, 1.0], [1.0, 1.0]], {}))
    found = cheapest_labelling(as_arrays(problem), whole(problem, (0, 1)), (0.0, 1.0))
    assert list(found.labels) == [1, 0]
    assert found.value == pytest.approx(1.0)


def test_all_costs_0_are_no_trouble(make_table):
    problem = Problem(make_table([[0.0, 0.0]] * 2, {0: [1]}))
    found = cheapest_labelling(as_arrays(problem), whole(problem, (0, 1)), (0.5, 0.5))
    assert found.value == 0


def test_a_value_that_comes_back_is_charged_nothing(make_table):
    problem = Problem(make_table([[1.0, 1.0]] * 2, {0: [1]}, feedback={1: [0]}))
    assert as_arrays(problem).price.shape == (2, 2, 1)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_labelling_is_below_the_value(all_tables, data):
    table = data.draw(all_tables(max_regions=5, features=FEATURES))
    problem = Problem(replace(table, dram_bytes=(0,) * len(table.regions)))
    domain = data.draw(domains(problem))
    weight = data.draw(weights(len(problem.engines)))
    found = cheapest_labelling(as_arrays(problem), domain, [weight[e] for e in problem.engine_of])
    legal = list(labellings(problem, domain))
    if not legal:
        assert found.value == INFINITY
        return
    assert tuple(found.labels) in legal
    assert found.value <= found.loads @ np.array(weight) + 1e-15
    for labels in legal:
        if len(set(labels)) == len(domain.slots):
            loads = loads_of(problem, domain.slots, labels)
            if max(loads) == INFINITY:  # over a missing link
                continue
            assert found.value <= np.dot(loads, weight) * CLOSE + 1e-12


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_without_values_to_hand_over_the_value_is_the_least(tables, data):
    table = data.draw(tables(max_regions=5))
    free = tuple(tuple(replace(t, fixed_s=0.0, s_per_byte=0.0) if t else None for t in row)
                 for row in table.transfers)  # fmt: skip
    problem = Problem(replace(table, transfers=free))
    domain = data.draw(domains(problem))
    weight = data.draw(weights(len(problem.engines)))
    by_slot = [weight[e] for e in problem.engine_of]
    overhead = sum(by_slot[s] * problem.overhead[s] for s in domain.slots)
    least = min(
        (
            sum(
                by_slot[domain.slots[k]] * problem.seconds[r][domain.slots[k]]
                for r, k in enumerate(labels)
            )
            for labels in labellings(problem, domain)
        ),
        default=INFINITY,
    )
    found = cheapest_labelling(as_arrays(problem), domain, [weight[e] for e in problem.engine_of])
    assert found.value == pytest.approx(overhead + least, rel=1e-9, abs=1e-10)
