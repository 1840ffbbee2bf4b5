import signal
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.evaluate import check, evaluate, schedule
from edgeweave.partition.heuristics.baselines import valid
from edgeweave.partition.heuristics.staging import cut_into_stages
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.cp_model import Task
from edgeweave.partition.search.cp_search import search


def dense_tables(make_table, data):
    """Tables where every decision matters: 4 regions, 3 engines, all prices different."""
    n, width = 4, 3
    seconds = st.integers(1, 60).map(lambda x: x / 4)
    costs = [[data.draw(seconds) for _ in range(width)] for _ in range(n)]
    edges = {a: [b for b in range(a + 1, n) if data.draw(st.booleans())] for a in range(n)}
    price = st.tuples(st.integers(0, 30).map(lambda x: x / 8), st.just(0.0))
    return make_table(
        costs,
        edges,
        transfer=[[(0.0, 0.0) if a == b else data.draw(price) for b in range(3)] for a in range(3)],
        overhead=[data.draw(st.sampled_from([0.0, 0.3])) for _ in range(width)],
        power_w=(1.0, 2.5, 0.5),
    )


def as_columns(numbers, objective):
    return numbers[list(Objective).index(objective)]


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_integer_program_alone_equals_brute_force(make_table, every_plan, data):
    table = dense_tables(make_table, data)
    objective = data.draw(st.sampled_from(list(Objective)))
    plans = every_plan(table, 3)
    limit = data.draw(st.sampled_from([None, *sorted({p.latency for p in plans})[:5]]))
    admitted = [p for p in plans if limit is None or p.latency <= limit * (1 + 1e-9)]
    best = min(as_columns(p, objective) for p in admitted)
    outcome = search(Problem(table), Task(objective, 3, limit), 1e3, 60.0)
    assert outcome.exhausted
    assert outcome.assignment is not None
    plan = evaluate(table, outcome.assignment)
    assert plan.value(objective) == pytest.approx(best, rel=1e-5)
    assert best * (1 - 1e-5) <= outcome.bound <= best * (1 + 1e-12)
    assert limit is None or plan.latency_s <= limit * (1 + 1e-5)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_integer_program_alone_knows_every_cost_and_constraint(all_tables, every_plan, data):
    features = ["send", "prices", "feedback", "capacity", "stages", "colocated", "power"]
    table = data.draw(all_tables(4, features))
    objective = data.draw(st.sampled_from(list(Objective)[: 3 if table.power_w else 2]))
    plans = every_plan(table, 3)
    outcome = search(Problem(table), Task(objective, 3), 1e3, 60.0)
    if not plans:
        assert outcome.exhausted
        assert outcome.assignment is None
        return
    best = min(as_columns(p, objective) for p in plans)
    assert outcome.assignment is not None
    assert evaluate(table, outcome.assignment).value(objective) == pytest.approx(best, abs=1e-4)
    assert outcome.bound == pytest.approx(best, abs=1e-4)
    assert outcome.bound <= best * (1 + 1e-12)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_largest_load_at_the_least_contended_interval_is_that_interval(
    make_table, every_plan, data
):
    law = Contention(data.draw(st.sampled_from([30.0, 90.0])), data.draw(st.sampled_from([0.5, 2])))
    table = replace(
        dense_tables(make_table, data),
        dram_bytes=tuple(data.draw(st.sampled_from([0, 70, 600])) for _ in range(4)),
        dram_bytes_per_s=1e6,
        contention=law,
    )
    best = min(p.interval for p in every_plan(table, 3))
    task = Task(Objective.INTERVAL, 3, contended_at_s=best)
    outcome = search(Problem(table), task, best * (1 + 1e-6), 60.0)
    assert outcome.assignment is not None
    assert best * (1 - 1e-5) <= outcome.bound <= best * (1 + 1e-12)
    assert evaluate(table, outcome.assignment).interval_s == pytest.approx(best, rel=1e-5)


def test_a_forbidden_plan_is_not_found_again(make_table):
    problem = Problem(make_table([[1.0, 3.0], [1.0, 2.0]], {0: [1]}))
    first = search(problem, Task(Objective.LATENCY, 2), 10.0, 60.0)
    assert first.assignment == ((0, (0, 1)),)
    without = Task(Objective.LATENCY, 2, forbidden=(first.assignment,))
    second = search(problem, without, 10.0, 60.0)
    assert second.assignment == ((0, (0,)), (0, (1,)))


def test_a_value_read_by_two_stages_does_not_delay_the_first_reader_for_the_second(make_table):
    # The model must not charge both transfers of r0's value to one way through the graph.
    price = [[(0.0, 0.0) if a == b else (2.0, 0.0) for b in range(3)] for a in range(3)]
    costs = [[1.0, None, None], [None, 3.0, None], [None, None, 3.0]]
    table = make_table(costs, {0: [1, 2]}, transfer=price)
    outcome = search(Problem(table), Task(Objective.LATENCY, 3), 100.0, 60.0)
    assert outcome.assignment is not None
    assert evaluate(table, outcome.assignment).latency_s == 6.0
    assert outcome.bound == pytest.approx(6.0, rel=1e-5)


def test_the_price_is_that_of_the_slot_the_value_comes_from(make_table):
    price = [[(0.0, 0.0)] * 3 for _ in range(3)]
    price[0][2], price[1][2] = (1.0, 0.0), (5.0, 0.0)
    table = make_table([[2.0, 1.0, None], [None, None, 1.0]], {0: [1]}, transfer=price)
    outcome = search(Problem(table), Task(Objective.LATENCY, 2), 100.0, 60.0)
    assert outcome.assignment == ((0, (0,)), (2, (1,)))
    assert outcome.bound == pytest.approx(4.0, rel=1e-5)


def test_a_limit_that_nothing_keeps_is_proven_so(make_table):
    table = make_table([[2.0], [2.0]], {0: [1]})
    outcome = search(Problem(table), Task(Objective.INTERVAL, 2, latency_limit_s=3.0), 10.0, 60.0)
    assert outcome.assignment is None
    assert outcome.exhausted
    assert outcome.bound == float("inf")


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_valid_plan_can_be_the_hint(make_table, data):
    table = dense_tables(make_table, data)
    problem = Problem(table)
    slots = [data.draw(st.integers(0, 2)) for _ in range(problem.size)]
    hint = valid(problem, cut_into_stages(problem, slots))
    assert hint is not None
    task = Task(Objective.LATENCY, max(3, len(hint.stages)))
    outcome = search(problem, task, hint.latency_s, 60.0, hint=hint.assignment)
    assert outcome.assignment is not None
    check(problem, outcome.assignment)
    assert schedule(problem, outcome.assignment).latency_s <= hint.latency_s * (1 + 1e-5)


def test_a_search_stops_at_the_first_plan_that_is_good_enough(make_table):
    table = make_table([[3.0, 2.0], [2.0, 3.0], [4.0, 5.0], [3.0, 3.0]], {0: [1, 2], 1: [3]})
    problem = Problem(table)
    task = Task(Objective.LATENCY, 4)
    outcome = search(problem, task, 100.0, 60.0, stop_below=50.0)
    assert outcome.assignment is not None
    assert evaluate(table, outcome.assignment).latency_s <= 50.0


def test_an_interrupt_ends_the_search_at_once_and_keeps_python_s_handler(make_table):
    """Forty regions on three engines with odd prices: no proof within the minute it may take."""
    n, engines = 40, 3
    costs = [[1 + (7 * r + 11 * s) % 13 / 8 for s in range(engines)] for r in range(n)]
    price = [[(0.0, 0.0) if a == b else (0.1, 0.0) for b in range(engines)] for a in range(engines)]
    edges = {r: [c for c in (r + 1, r + 3, r + 7) if c < n] for r in range(n)}
    problem = Problem(make_table(costs, edges, transfer=price))

    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    handler = signal.getsignal(signal.SIGINT)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            search(problem, Task(Objective.INTERVAL, max_stages=8), horizon=1e3, seconds=60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert signal.getsignal(signal.SIGINT) is handler
