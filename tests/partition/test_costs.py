from dataclasses import replace

import pytest

from edgeweave.partition.costs import Cost, Source, Transfer
from edgeweave.partition.errors import PartitionError
from edgeweave.targets.region import Value

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def table(make_table):
    return make_table([[1.0, 2.0], [3.0, 4.0]], {0: [1]})


@pytest.mark.parametrize("seconds", [-1.0, NAN, INFINITY])
def test_what_is_not_a_duration_is_no_cost(seconds):
    with pytest.raises(PartitionError, match=r"a cost of .* is not a duration"):
        Cost(seconds, Source.GIVEN)
    for i in range(4):
        prices = [0.0, 0.0, 0.0, 0.0]
        prices[i] = seconds
        with pytest.raises(PartitionError, match=r"a transfer of .* is not a duration"):
            Transfer(*prices[:2], Source.GIVEN, *prices[2:])


def test_receiving_and_sending_have_prices_of_their_own():
    transfer = Transfer(1.0, 0.5, Source.GIVEN, 2.0, 0.25)
    assert (transfer.seconds(4), transfer.send_seconds(4)) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"costs": ()}, "its rows do not match 2 regions x 2 slots"),
        ({"transfers": ()}, "its rows do not match 2 regions x 2 slots"),
        ({"prices": (((),),)}, "its rows do not match 2 regions x 2 slots"),
        ({"dram_bytes": (1,)}, "overheads or memory traffic are incomplete"),
        ({"stage_overhead_s": (0.0,)}, "overheads or memory traffic are incomplete"),
        ({"stage_overhead_s": (0.0, NAN)}, "an overhead of nan s is not a duration"),
        ({"prices": (None, None)}, "2 prices where 1 belong"),
        ({"memory_bytes": (1,)}, "1 memory of regions where 2 belong"),
        ({"capacity_bytes": (1,)}, "1 capacities where 2 belong"),
        ({"engine_stages": (1, 1, 1)}, "3 limits on stages where 2 belong"),
        ({"power_w": (1.0,)}, "1 powers where 2 belong"),
        ({"memory_bytes": (1, -1)}, "a memory of -1 is no amount"),
        ({"capacity_bytes": (None, -5)}, "a capacity of -5 is no amount"),
        ({"engine_stages": (-1, None)}, "a limit on stages of -1 is no amount"),
        ({"power_w": (None, NAN)}, "a power of nan is no amount"),
        ({"power_w": (INFINITY, 1.0)}, "a power of inf is no amount"),
        ({"dram_bytes": (0, -2)}, "a memory traffic of -2 is no amount"),
        ({"colocated": ((0,),)}, r"\[0\] is no group of its regions"),
        ({"colocated": ((0, 2),)}, r"\[0, 2\] is no group of its regions"),
        ({"values": (Value("v", 1, (0,), 0, False),)}, "value 'v' is read before it exists"),
    ],
)
def test_a_table_that_contradicts_itself_is_told_so(table, change, message):
    with pytest.raises(PartitionError, match=f"^cost table: {message}"):
        replace(table, **change)


def test_a_feedback_value_may_be_read_earlier_than_it_is_made(table):
    back = Value("state", 1, (0,), 0, is_output=False, feedback=True)
    assert replace(table, values=(*table.values, back)).values[-1] is back
