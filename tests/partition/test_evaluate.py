import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import evaluate
from edgeweave.partition.heuristics.baselines import valid
from edgeweave.partition.heuristics.staging import cut_into_stages
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem

FREE, DEAR = (0.0, 0.0), (1.0, 0.5)


def test_a_stage_pays_overhead_regions_and_each_received_value_once(make_table):
    table = make_table(
        [[1.0, 9.0], [9.0, 2.0], [9.0, 3.0]],
        {0: [1, 2], 1: [2]},
        nbytes=4,
        transfer=[[FREE, DEAR], [DEAR, FREE]],
        overhead=[0.25, 0.5],
    )
    plan = evaluate(table, [(0, (0,)), (1, (1, 2))])
    assert [s.compute_s for s in plan.stages] == [1.25, 5.5]
    assert [s.transfer_s for s in plan.stages] == [0.0, 3.0]
    assert plan.latency_s == 9.75
    assert plan.interval_s == 8.5
    assert plan.interval_limit == "e1"
    assert plan.engine_s == {"e0": 1.25, "e1": 8.5}
    assert plan.value(Objective.LATENCY) == 9.75
    assert plan.value(Objective.INTERVAL) == 8.5


def test_a_value_read_by_two_stages_of_one_slot_is_paid_by_both(make_table):
    table = make_table(
        [[1.0, 1.0]] * 3, {0: [1, 2]}, nbytes=0, transfer=[[FREE, DEAR], [DEAR, FREE]]
    )
    plan = evaluate(table, [(0, (0,)), (1, (1,)), (1, (2,))])
    assert [s.transfer_s for s in plan.stages] == [0.0, 1.0, 1.0]
    assert plan.stages[2].start_s == plan.stages[1].end_s


def test_independent_stages_on_two_engines_overlap(make_table):
    table = make_table([[2.0, 2.0], [3.0, 3.0]], {})
    assert evaluate(table, [(0, (0,)), (1, (1,))]).latency_s == 3.0
    assert evaluate(table, [(0, (0,)), (0, (1,))]).latency_s == 5.0


def test_two_slots_of_one_engine_do_not_overlap(make_table):
    table = make_table([[2.0, 2.0], [3.0, 3.0]], {}, engines=["cpu", "cpu"])
    plan = evaluate(table, [(0, (0,)), (1, (1,))])
    assert (plan.latency_s, plan.interval_s) == (5.0, 5.0)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ([(0, (0,))], "region r001: it is not placed"),
        ([(0, (0, 1)), (0, (1,))], "region r001: it is placed twice"),
        ([(0, (0,)), (0, ()), (0, (1,))], "stage 1: it holds no region"),
        ([(7, (0, 1))], "stage 0: the table has no slot 7"),
        ([(0, (0, 1, 5))], "stage 0: the table has no region 5"),
        ([(1, (0, 1))], "region r001: e1/b0 refuses it: slot 1 has no such operator [b1.op]"),
        ([(0, (1,)), (0, (0,))], "edge r000 to r001: it runs back from stage 1 to stage 0"),
        ([(1, (0,)), (0, (1,))], "edge r000 to r001: no link joins e1/b0 and e0/b0"),
    ],
)
def test_an_invalid_placement_is_an_error_that_names_the_fault(make_table, assignment, message):
    table = make_table([[1.0, 1.0], [1.0, None]], {0: [1]}, transfer=[[FREE, FREE], [None, FREE]])
    with pytest.raises(PartitionError) as caught:
        evaluate(table, assignment)
    assert str(caught.value).startswith(message)


def test_bytes_without_a_memory_bandwidth_are_an_error(make_table):
    from dataclasses import replace

    table = replace(make_table([[1.0]], {}, dram_bytes=8), dram_bytes_per_s=0.0)
    with pytest.raises(PartitionError, match="bandwidth"):
        evaluate(table, [(0, (0,))])


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_latency_and_interval_lie_between_the_busiest_engine_and_the_sum(tables, data):
    table = data.draw(tables(max_regions=8))
    problem = Problem(table)
    takers = [[s for s, c in enumerate(row) if c < float("inf")] for row in problem.seconds]
    slots = [data.draw(st.sampled_from(row)) for row in takers]
    plan = valid(problem, cut_into_stages(problem, slots))
    if plan is None:
        return
    assert evaluate(table, plan.assignment) == plan
    total = sum(s.compute_s + s.transfer_s for s in plan.stages)
    busiest = max(plan.engine_s.values())
    assert busiest <= plan.interval_s
    assert busiest <= plan.latency_s * (1 + 1e-12)
    assert plan.latency_s <= total * (1 + 1e-12)
    assert sum(plan.engine_s.values()) == pytest.approx(total)
