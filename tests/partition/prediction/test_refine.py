import pytest

from edgeweave.partition.costs import Source
from edgeweave.partition.prediction.refine import BuiltTime, refine, refined_table
from edgeweave.targets.backend import Slot


@pytest.fixture
def table(make_table):
    """Three regions in a row on two alike engines and a slower one."""
    return make_table([[2, 2, 8], [4, 4, 9], [1, 1, 5]], {0: [1], 1: [2]}, overhead=[0.5] * 3)


def stage(table, column, regions, seconds):
    return BuiltTime(table.slots[column], regions, seconds)


def test_a_stage_s_measured_time_is_shared_out_like_the_costs_before(table):
    refined = refined_table(table, [stage(table, 0, (0, 1), 3.5), stage(table, 1, (2,), None)])
    assert [refined.seconds(region, 0) for region in range(3)] == pytest.approx([1, 2, 1])
    assert refined.costs[0][0].source is Source.MEASURED
    assert refined.costs[2] == table.costs[2]


def test_an_alike_slot_learns_the_same_and_an_unlike_one_nothing(table):
    refined = refined_table(table, [stage(table, 0, (0, 1), 3.5)])
    assert refined.seconds(0, 1) == pytest.approx(1)
    assert refined.costs[0][2] == table.costs[0][2]


def test_the_schedule_holds_the_measured_times(table):
    schedule = refine(table, [stage(table, 0, (0, 1), 3.5), stage(table, 1, (2,), 2.5)])
    assert schedule.latency_s == pytest.approx(6.0)
    assert schedule.interval_s == pytest.approx(3.5)


def test_a_stage_of_free_regions_shares_its_time_evenly(make_table):
    table = make_table([[0.0], [0.0]], {0: [1]})
    refined = refined_table(table, [BuiltTime(Slot("e0", "b0"), (0, 1), 3.0)])
    assert [refined.seconds(region, 0) for region in range(2)] == [1.5, 1.5]
