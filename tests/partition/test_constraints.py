"""Demands on a plan become refusals, groups and limits of its table."""

from __future__ import annotations

import pytest

from edgeweave.partition.constraints import AVOID, PLACE, Constraints, Demand, constrain
from edgeweave.partition.costs import Cost
from edgeweave.partition.errors import TableError
from edgeweave.targets.backend import Refusal


@pytest.fixture
def table(make_table):
    """Three regions on cpu/b0, cpu/b1 and npu/b0; the last region is refused by npu."""
    costs = [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, None]]
    return make_table(costs, {0: [1], 1: [2]}, engines=["cpu", "cpu", "npu"])


def rules(table, region):
    return [c.rule if isinstance(c, Refusal) else None for c in table.costs[region]]


def test_without_constraints_the_table_stays_as_it_is(table):
    assert constrain(table, Constraints()) == table


def test_a_placed_region_is_refused_everywhere_else_for_that_reason(table):
    found = constrain(table, Constraints(place=(Demand("r000", "npu"),)))
    assert rules(found, 0) == [PLACE, PLACE, None]
    assert found.costs[0][0] == Refusal(PLACE, "the request places it on npu")
    assert found.costs[1:] == table.costs[1:]


def test_an_engine_stands_for_all_of_its_slots_and_a_slot_for_itself(table):
    found = constrain(
        table, Constraints(place=(Demand("r000", "cpu"),), avoid=(Demand("r001", "cpu/b1"),))
    )
    assert rules(found, 0) == [None, None, PLACE]
    assert rules(found, 1) == [None, AVOID, None]


def test_a_pattern_names_all_regions_it_matches(table):
    found = constrain(table, Constraints(avoid=(Demand("r00[01]", "npu"),)))
    assert [rules(found, r)[2] for r in range(3)] == [AVOID, AVOID, "b2.op"]


def test_a_pattern_names_all_slots_it_matches(table):
    found = constrain(table, Constraints(avoid=(Demand("r000", "*/b1"), Demand("r001", "c*"))))
    assert rules(found, 0) == [None, AVOID, None]
    assert rules(found, 1) == [AVOID, AVOID, None]


def test_a_refusal_of_the_table_keeps_its_own_rule(table):
    found = constrain(
        table, Constraints(place=(Demand("r002", "cpu/b0"),), avoid=(Demand("*", "npu"),))
    )
    assert rules(found, 2) == [None, PLACE, "b2.op"]


def test_demands_that_exclude_each_other_leave_no_cost(table):
    both = (Demand("r000", "npu"), Demand("r*0", "cpu"))
    found = constrain(table, Constraints(place=both))
    assert not any(isinstance(c, Cost) for c in found.costs[0])


def test_groups_are_added_and_limits_lowered(table):
    first = constrain(table, Constraints(together=(("r000", "r002"),), engine_stages=3))
    assert first.colocated == ((0, 2),)
    assert first.engine_stages == (3, 3)
    again = constrain(first, Constraints(together=(("r00[01]",),), engine_stages=2))
    assert again.colocated == ((0, 2), (0, 1))
    assert again.engine_stages == (2, 2)
    assert constrain(again, Constraints(engine_stages=9)).engine_stages == (2, 2)


@pytest.mark.parametrize(
    ("constraints", "subject", "told"),
    [
        (Constraints(place=(Demand("r0000", "npu"),)), "place r0000=npu",
         "there is no region 'r0000'; did you mean"),
        (Constraints(avoid=(Demand("x*", "npu"),)), "avoid x*=npu", "there is no region 'x*'"),
        (Constraints(place=(Demand("r000", "npx"),)), "place r000=npx",
         "there is no engine or slot 'npx'; did you mean npu"),
        (Constraints(avoid=(Demand("r000", "npu/b7"),)), "avoid r000=npu/b7",
         "there is no engine or slot 'npu/b7'; did you mean npu/b0"),
        (Constraints(together=(("r000", "q"),)), "together r000,q", "there is no region 'q'"),
        (Constraints(together=(("r000", "r000"),)), "together r000,r000",
         "one region alone is always together"),
    ],
)  # fmt: skip
def test_unknown_names_are_told_with_the_nearest_ones(table, constraints, subject, told):
    with pytest.raises(TableError) as error:
        constrain(table, constraints)
    assert error.value.subject == subject
    assert error.value.reason.startswith(told)


def test_the_start_of_a_region_names_the_regions_that_begin_so(make_table):
    table = make_table([[1.0]] * 12, {})
    with pytest.raises(TableError, match="did you mean r000 or r001 or r002"):
        constrain(table, Constraints(avoid=(Demand("r0", "e0"),)))
