"""The public format of cost tables: what is read, and that what is written is read back."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import Cost, Source, Transfer
from edgeweave.partition.files.table_json import read_table, table_to_json
from edgeweave.partition.files.table_reader import NO_COST
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value


def small(**changes):
    """A table of two slots, three regions and two values, as data."""
    return {
        "schema_version": 1,
        "slots": ["cpu", {"engine": "npu", "capacity_bytes": 100}],
        "regions": [
            {"id": "a", "costs": {"cpu": 2.0, "npu": 1.0}, "memory_bytes": 7},
            {"id": "b", "costs": {"cpu": 3.0, "npu": None}},
            {"id": "c", "costs": {"cpu": 4.0}},
        ],
        "values": [
            {"producer": "a", "consumers": ["b"], "bytes": 10},
            {"producer": "b", "consumers": ["c"]},
        ],
        "links": [{"from": "cpu", "to": "npu", "fixed_s": 0.5, "both_ways": True}],
        **changes,
    }


def test_a_table_may_be_written_with_hardly_more_than_its_numbers(schema):
    schema.validate(small())
    table = read_table(small())
    assert table.slots == (Slot("cpu", "given"), Slot("npu", "given"))
    assert table.costs[0] == (Cost(2.0, Source.GIVEN), Cost(1.0, Source.GIVEN))
    assert table.costs[1][1] == table.costs[2][1] == NO_COST
    assert table.values[0] == Value("v0", 0, (1,), 10, is_output=False)
    assert table.transfers[0][1] == table.transfers[1][0] == Transfer(0.5, 0.0, Source.GIVEN)
    assert table.memory_bytes == (7, 0, 0)
    assert table.capacity_bytes == (None, 100)
    assert (table.prices, table.engine_stages, table.power_w) == ((), (), ())
    assert (table.dram_bytes, table.contention) == ((0, 0, 0), None)


def test_every_field_is_read(schema):
    data = {
        "schema_version": 1,
        "description": "all of it",
        "slots": [
            {"engine": "cpu", "backend": "x", "power_w": 2.5, "stage_overhead_s": 0.25},
            {"engine": "cpu", "backend": "y", "capacity_bytes": 1e3, "max_stages": 2},
            "npu/z",
        ],
        "regions": [
            {
                "id": "a",
                "costs": {
                    "cpu/x": {"seconds": 1, "source": "measured"},
                    "cpu/y": {"refused": "y.op", "reason": "no such operator"},
                    "npu": {"refused": "z.op"},
                },
                "memory_bytes": 5,
                "dram_bytes": 6,
            },
            {"id": "b", "costs": {"npu/z": 0}},
        ],
        "values": [
            {"name": "x", "producer": None, "consumers": ["a"], "bytes": 4},
            {
                "name": "y", "producer": "a", "consumers": ["b"], "is_output": True,
                "links": [{"from": "*", "to": "*", "send_fixed_s": 1, "send_s_per_byte": 2}],
            },
            {"name": "state", "producer": "b", "consumers": ["a"], "feedback": True},
        ],
        "links": [
            {"from": "cpu/*", "to": ["cpu/x", "cpu/y"], "fixed_s": 1, "source": "measured"},
            {"from": "cpu/x", "to": "npu", "s_per_byte": 2},
            {"from": "cpu/y", "to": "cpu/x", "joined": False},
        ],
        "dram_bytes_per_s": 1e9,
        "colocated": [["b", "a"]],
        "contention": {"knee_bytes_per_s": 8e8, "slope": 0.5},
    }  # fmt: skip
    schema.validate(data)
    table = read_table(data)
    assert table.slots == (Slot("cpu", "x"), Slot("cpu", "y"), Slot("npu", "z"))
    assert table.stage_overhead_s == (0.25, 0.0, 0.0)
    assert table.power_w == (2.5, None, None)
    assert table.capacity_bytes == (1000, None)
    assert table.engine_stages == (2, None)
    assert table.costs[0] == (
        Cost(1.0, Source.MEASURED),
        Refusal("y.op", "no such operator"),
        Refusal("z.op", "the table refuses it"),
    )
    assert (table.memory_bytes, table.dram_bytes) == ((5, 0), (6, 0))
    assert table.values[0] == Value("x", None, (0,), 4, is_output=False)
    assert table.values[1].is_output
    assert table.values[2] == Value("state", 1, (0,), 0, is_output=False, feedback=True)
    assert table.prices[0] is table.prices[2] is None
    own = table.prices[1]
    assert own is not None
    assert own[0][2] == Transfer(0.0, 0.0, Source.GIVEN, 1.0, 2.0)
    assert own[0][0] == Transfer(0.0, 0.0, Source.GIVEN)
    assert table.transfers[0][1] == Transfer(1.0, 0.0, Source.MEASURED)
    assert table.transfers[0][2] == Transfer(0.0, 2.0, Source.GIVEN)
    assert table.transfers[1][0] is table.transfers[2][0] is None
    assert table.colocated == ((1, 0),)
    assert table.contention == Contention(8e8, 0.5)
    assert table.dram_bytes_per_s == 1e9


def test_regions_may_stand_in_any_order_and_move_no_more_than_they_must():
    costs = {"cpu": 1.0}
    table = read_table(
        {
            "schema_version": 1,
            "slots": ["cpu"],
            "regions": [{"id": name, "costs": costs} for name in "dxbay"],
            "values": [
                {"producer": "a", "consumers": ["d", "b"]},
                {"producer": "b", "consumers": ["d"]},
            ],
        }
    )
    assert table.regions == ("x", "a", "b", "d", "y")
    assert [(v.producer, v.consumers) for v in table.values] == [(1, (2, 3)), (2, (3,))]


def test_a_file_in_utf8_is_read_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "table.json"
    text = json.dumps(small()).replace('"a"', '"ä"')
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text(text, encoding=encoding)
        assert read_table(path).regions == ("ä", "b", "c")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_table_survives_the_way_through_json_text(tables, schema, data):
    table = data.draw(tables())
    n, m, count = len(table.regions), len(table.slots), len(table.values)
    if data.draw(st.booleans()):
        price = st.one_of(
            st.none(),
            st.builds(
                Transfer, *[st.sampled_from([0.0, 0.5])] * 2, st.sampled_from(Source),
                *[st.sampled_from([0.0, 0.25])] * 2,
            ),
        )  # fmt: skip
        square = st.tuples(*[st.tuples(*[price] * m)] * m)
        sizes = st.one_of(st.none(), st.integers(0, 2**70))
        engines = len(table.engines)
        table = replace(
            table,
            prices=data.draw(st.tuples(*[st.one_of(st.none(), square)] * count)),
            memory_bytes=data.draw(st.tuples(*[st.integers(0, 2**70)] * n)),
            capacity_bytes=data.draw(st.tuples(*[sizes] * engines)),
            engine_stages=data.draw(st.tuples(*[st.sampled_from([None, 1, 3])] * engines)),
            power_w=data.draw(st.tuples(*[st.sampled_from([None, 0.0, 2.5])] * m)),
            colocated=((n - 1, 0),) if n > 1 else (),
            contention=data.draw(st.sampled_from([None, Contention(7.5), Contention(1e9, 0.0)])),
        )
    written = table_to_json(table)
    schema.validate(written)
    assert read_table(json.loads(json.dumps(written, allow_nan=False))) == table


def test_equal_prices_are_written_once():
    slots = [f"acc{i}" for i in range(6)]
    link = {"from": "*", "to": "*", "fixed_s": 0.5}
    regions = [{"id": "a", "costs": {"acc0": 1.0}}]
    data = {"schema_version": 1, "slots": slots, "regions": regions, "links": [link]}
    assert table_to_json(read_table(data))["links"] == [link]
