"""Bad cost tables: every one is told by its file and the path to the field that is wrong."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.errors import PartitionError, TableError
from edgeweave.partition.files.json_field import MAX_BYTES
from edgeweave.partition.files.table_json import read_table


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


def changed(path, value):
    """The small table with the value at a path of keys and positions replaced or added."""
    data = json.loads(json.dumps(small()))
    *way, last = path
    place = data
    for step in way:
        place = place[step]
    if isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return data


DEEP = json.loads("[" * 500 + "]" * 500)
WRONG = [
    (["regions", 0, "costs", "npu"], -3.0, "regions[0].costs.npu: -3.0 is negative"),
    (["regions", 0, "costs", "npu"], "fast", 'regions[0].costs.npu: "fast" is not a number'),
    (["regions", 0, "costs", "npu"], True, "regions[0].costs.npu: true is not a number"),
    (["regions", 0, "costs", "npu"], {"refused": "r", "seconds": 1},
     "regions[0].costs.npu.seconds: is not a known field; there are reason, refused"),
    (["regions", 0, "costs", "npu"], {}, "regions[0].costs.npu.seconds: is missing"),
    (["regions", 0, "costs", "npu"], {"seconds": 1, "source": "guessed"},
     "regions[0].costs.npu.source: 'guessed' is no source"),
    (["regions", 0, "memory_bytes"], 1.5, "regions[0].memory_bytes: 1.5 is not a whole number"),
    (["regions", 0, "dram_bytes"], False, "regions[0].dram_bytes: false is not a number"),
    (["regions", 0, "cost"], {}, "regions[0].cost: is not a known field; did you mean costs?"),
    (["regions", 0, "id"], 7, "regions[0].id: 7 is not a string"),
    (["regions", 0, "id"], " ", "regions[0].id: is an empty string"),
    (["regions", 0], {"id": "a"}, "regions[0].costs: is missing"),
    (["regions", 0], {"costs": {"cpu": 1}}, "regions[0].id: is missing"),
    (["regions", 0], [], "regions[0]: a list is not an object"),
    (["regions"], {}, "regions: an object is not a list"),
    (["regions"], None, "regions: null is not a list"),
    (["slots"], [], "slots: the list is empty"),
    (["slots", 1], {"engine": "npu", "capacity_bytes": -1},
     "slots[1].capacity_bytes: -1 is negative"),
    (["slots", 1], {"engine": "npu", "max_stages": 0}, "slots[1].max_stages: 0 is below 1"),
    (["slots", 1], {"engine": "npu", "power_w": True}, "slots[1].power_w: true is not a number"),
    (["slots", 1], {"engine": "a/b"}, "slots[1].engine: 'a/b' is no name of an engine"),
    (["slots", 1], {"backend": "x"}, "slots[1].engine: is missing"),
    (["values", 0, "bytes"], "10", 'values[0].bytes: "10" is not a number'),
    (["values", 0, "feedback"], 1, "values[0].feedback: 1 is not true or false"),
    (["values", 0], {"consumers": ["b"]}, "values[0].producer: is missing"),
    (["values", 0], {"producer": "a"}, "values[0].consumers: is missing"),
    (["values", 0, "consumers"], "b", 'values[0].consumers: "b" is not a list'),
    (["values", 0, "consumers"], ["b", "b"], "values[0].consumers[1]: 'b' is listed twice"),
    (["values", 0, "links"], {}, "values[0].links: an object is not a list"),
    (["links", 0, "latency_s"], 1, "links[0].latency_s: is not a known field"),
    (["links", 0, "to"], 3, "links[0].to: 3 is not a string"),
    (["links", 0, "to"], [["npu"]], "links[0].to[0]: a list is not a string"),
    (["links", 0], {"from": "cpu"}, "links[0].to: is missing"),
    (["links", 0, "fixed_s"], None, "links[0].fixed_s: null is not a number"),
    (["dram_bytes_per_s"], -1, "dram_bytes_per_s: -1 is negative"),
    (["colocated"], [["a"]], "colocated[0]: a group needs two regions"),
    (["colocated"], [["a", "a"]], "colocated[0][1]: 'a' is listed twice"),
    (["contention"], {"knee_bytes_per_s": 0}, "contention.knee_bytes_per_s: 0 is no bandwidth"),
    (["contention"], {"slope": 1}, "contention.knee_bytes_per_s: is missing"),
    (["contention"], {"knee_bytes_per_s": 1, "slope": -1}, "contention.slope: -1 is negative"),
    (["schema_version"], 2, "schema_version: this edgeweave reads version 1 only"),
    (["schema_version"], True, "schema_version: this edgeweave reads version 1 only"),
    (["schema_version"], "1", "schema_version: this edgeweave reads version 1 only"),
    (["engines"], [], "engines: is not a known field"),
    (["description"], 3, "description: 3 is not a string"),
    (["regions", 0, "costs"], DEEP, "regions[0].costs: a list is not an object"),
]  # fmt: skip
# What a schema cannot see: names, order, and what JSON numbers may be.
INCONSISTENT = [
    (["regions", 0, "costs", "npu"], float("nan"),
     "regions[0].costs.npu: NaN is not a finite number"),
    (["regions", 0, "costs", "npu"], float("inf"),
     "regions[0].costs.npu: Infinity is not a finite number"),
    (["regions", 0, "costs", "npu"], 10**400,
     "regions[0].costs.npu: a number of very many digits is not a finite number"),
    (["regions", 0, "costs", "nqu"], 1,
     "regions[0].costs.nqu: there is no slot 'nqu'; did you mean npu?"),
    (["regions", 0, "costs", "npu/given"], 1,
     'regions[0].costs["npu/given"]: is the same slot as npu'),
    (["regions", 0, "costs", "npu/x"], 1, 'regions[0].costs["npu/x"]: there is no slot \'npu/x\''),
    (["regions", 2, "id"], "a", "regions[2].id: 'a' is also the id of regions[0]"),
    (["slots", 2], "cpu", "slots[2]: cpu/given is listed twice"),
    (["slots", 2], {"engine": "npu", "backend": "x", "capacity_bytes": 99},
     "slots[2].capacity_bytes: npu has another one at an earlier slot"),
    (["values", 0, "producer"], "z", "values[0].producer: there is no region 'z'"),
    (["values", 0, "consumers", 0], "bb", "values[0].consumers[0]: there is no region 'bb'"),
    (["values", 0, "consumers", 0], "a",
     "values[0].consumers[0]: 'a' would read what it makes itself"),
    (["values", 2], {"producer": "c", "consumers": ["a"]},
     "values[0]: is part of the cycle a -> b -> c -> a; what is read in a later frame"),
    (["links", 0, "to"], "dsp", "links[0].to: there is no slot 'dsp'"),
    (["links", 0, "to"], "d*", "links[0].to: 'd*' matches no slot"),
    (["links", 0, "joined"], False,
     "links[0].fixed_s: slots that are not joined have no price"),
    (["colocated"], [["a", "z"]], "colocated[0][1]: there is no region 'z'"),
    (["regions", 0, "dram_bytes"], 5, "dram_bytes_per_s: is missing, and regions state dram_bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "told"), WRONG, ids=[told for *_, told in WRONG])
def test_a_wrong_field_is_told_by_its_path_and_the_schema_sees_it_too(schema, path, value, told):
    data = changed(path, value)
    assert not schema.is_valid(data)
    with pytest.raises(TableError) as error:
        read_table(data)
    assert error.value.reason.startswith(told)


@pytest.mark.parametrize(
    ("path", "value", "told"), INCONSISTENT, ids=[told for *_, told in INCONSISTENT]
)
def test_what_does_not_fit_together_is_told_by_its_path(path, value, told):
    with pytest.raises(TableError) as error:
        read_table(changed(path, value))
    assert error.value.reason.startswith(told)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    | st.sampled_from(["a", "b", "cpu", "npu", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)  # fmt: skip


def places(data, path=()):
    """The paths of all values of a document."""
    yield path
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*path, key))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_field_is_read_or_told(data):
    path = data.draw(st.sampled_from([p for p in places(small()) if p]))
    document = changed(path, data.draw(JSON))
    with suppress(PartitionError):
        assert read_table(document).regions


def test_a_name_with_several_backends_asks_for_one():
    data = changed(["slots", 2], {"engine": "npu", "backend": "x"})
    with pytest.raises(TableError, match=r"npu has several backends; write npu/given or npu/x"):
        read_table(data)


def test_several_slots_need_links():
    data = small()
    del data["links"]
    with pytest.raises(TableError, match="links: is missing: there are several slots"):
        read_table(data)
    for value in data["values"]:
        value["links"] = []
    assert read_table(data).transfers[0][1] is None


def test_a_bandwidth_of_0_is_told_where_bytes_are_moved():
    data = changed(["regions", 0, "dram_bytes"], 5) | {"dram_bytes_per_s": 0}
    with pytest.raises(TableError, match="dram_bytes_per_s: is 0, and regions state dram_bytes"):
        read_table(data)


def test_a_region_that_no_slot_takes_is_no_plan_and_told_with_all_reasons():
    costs = {"cpu": {"refused": "cpu.op", "reason": "unknown operator"}}
    with pytest.raises(PartitionError) as error:
        read_table(changed(["regions", 2, "costs"], costs))
    assert not isinstance(error.value, TableError)
    assert error.value.reason == (
        "regions[2].costs: no slot takes this region (cpu/given: unknown operator [cpu.op]; "
        "npu/given: the table states no cost here [table.no-cost])"
    )


def test_data_that_is_no_object_is_told():
    with pytest.raises(TableError, match="the document: a list is not an object"):
        read_table([])  # type: ignore[arg-type]
    with pytest.raises(TableError, match="3 is no name of a field"):
        read_table({3: 4})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\x80\x02\xff\xfe\x00", "is no text, so no JSON"),
        (b'{\n "slots": ]}', "line 2, column 11: is no JSON ("),
        (b'{"schema_version": 1} x', "line 1, column 23: is no JSON (Extra data)"),
        (b"[" * 200_000, "is nested too deeply"),
        (b'{"a":' * 200_000, "is nested too deeply"),
        (b"1" * 10_000, "holds a number that is too long"),
        (b'{"slots": [], "slots": []}', "slots: is written twice"),
        (b'{"schema_version": NaN}', "schema_version: this edgeweave reads version 1 only"),
    ],
)
def test_a_file_that_is_no_table_is_told_with_its_name(tmp_path, content, told):
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(TableError) as error:
        read_table(path)
    assert error.value.subject == str(path)
    assert error.value.reason.startswith(told) or f": {told}" in str(error.value)


def test_lists_in_lists_are_told_however_deep_they_are():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TableError, match="is nested too deeply"):
        read_table(changed(["links"], []) | {"links": [{"from": deep, "to": "npu"}]})
    with pytest.raises(TableError, match=r"regions\[0\]: a list is not an object"):
        read_table(small() | {"regions": [deep]})


def test_a_field_that_is_written_twice_deep_inside_is_told_by_its_path(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(small()).replace('"npu": 1.0', '"npu": 1.0, "npu": 2.0'))
    with pytest.raises(TableError, match=r"regions\[0\]\.costs\.npu: is written twice"):
        read_table(path)


def test_a_number_beyond_all_doubles_is_told_by_its_path(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(small()).replace('"npu": 1.0', '"npu": 1e999'))
    with pytest.raises(TableError, match=r"regions\[0\]\.costs\.npu: Infinity is not a finite"):
        read_table(path)


def test_a_file_that_is_not_there_or_a_folder_is_told(tmp_path):
    with pytest.raises(TableError, match=r"none\.json: cannot be read \(No such file"):
        read_table(tmp_path / "none.json")
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path)


def test_a_huge_file_is_refused_by_its_size(tmp_path):
    path = tmp_path / "table.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(TableError, match="is larger than 256 MiB"):
        read_table(path)
