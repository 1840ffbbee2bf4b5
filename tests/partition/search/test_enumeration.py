from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.evaluate import evaluate
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.enumeration import Enumeration

INFINITY = float("inf")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_trying_all_plans_equals_brute_force(all_tables, every_plan, data):
    table = data.draw(all_tables(4))
    objective = data.draw(st.sampled_from(list(Objective)[: 3 if table.power_w else 2]))
    plans = every_plan(table, 3)
    latencies = sorted({p.latency for p in plans})
    limit = data.draw(st.sampled_from([None, *latencies[:: max(1, len(latencies) // 4)]]))
    limits = (limit, None)
    search = Enumeration(Problem(table), objective, 3, limits, INFINITY, perf_counter() + 60)
    assert search.run()
    kept = [p for p in plans if limit is None or p.latency <= limit * (1 + 1e-9)]
    if not kept:
        assert search.best is None
        return
    least = min(p[list(Objective).index(objective)] for p in kept)
    assert search.best is not None
    assert search.value == pytest.approx(least, rel=1e-9)
    assert evaluate(table, search.best).value(objective) == search.value


def test_only_a_better_plan_is_told(make_table):
    problem = Problem(make_table([[1.0, 2.0], [1.0, 2.0]], {0: [1]}))
    search = Enumeration(problem, Objective.LATENCY, 2, (None, None), 2.0, perf_counter() + 60)
    assert search.run()
    assert search.best is None


def test_a_deadline_ends_it_without_a_claim(make_table):
    problem = Problem(make_table([[1.0, 2.0]] * 6, {}))
    search = Enumeration(problem, Objective.LATENCY, 4, (None, None), INFINITY, perf_counter())
    assert not search.run()
