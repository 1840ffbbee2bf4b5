import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.files.plan_json import plan_from_json, plan_to_json
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.solve import solve


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_plan_survives_the_way_through_json_text(tables, data):
    table = data.draw(tables())
    request = Request(
        data.draw(st.sampled_from(list(Objective))),
        budget_s=data.draw(st.sampled_from([None, 2.5])),
        time_limit_s=0.05,
    )
    try:
        plan = solve(table, request, "board")
    except PartitionError:
        return
    text = json.dumps(plan_to_json(plan), allow_nan=False)
    assert plan_from_json(json.loads(text)) == plan


@pytest.fixture
def written(make_table):
    table = make_table([[1.0, 2.0], [3.0, None]], {0: [1]})
    return plan_to_json(solve(table, Request(), "board"))


def test_plan_data_states_the_gap_and_stage_names(written):
    assert written["certificate"]["gap"] == 0
    assert written["stages"][0]["name"] == "s0-e0-b0"
    assert written["stages"][0]["sources"] == {"predicted (roofline)": 2}


def test_a_missing_key_is_an_error_that_names_it(written):
    del written["latency_s"]
    with pytest.raises(PartitionError, match="'latency_s' is missing"):
        plan_from_json(written)


@pytest.mark.parametrize(
    ("key", "value"),
    [("latency_s", "fast"), ("certificate", {"objective": "beauty"}), ("stages", 7)],
)
def test_a_malformed_field_is_an_error(written, key, value):
    with pytest.raises(PartitionError, match="not a plan"):
        plan_from_json({**written, key: value})


def test_data_that_is_no_mapping_is_an_error():
    with pytest.raises(PartitionError, match="not a plan"):
        plan_from_json([])  # type: ignore[arg-type]
