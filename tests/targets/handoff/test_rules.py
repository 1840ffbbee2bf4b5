from pathlib import Path

import pytest

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.errors import TargetError
from edgeweave.targets.handoff import BACKEND
from edgeweave.targets.handoff.tools import TOOLS
from edgeweave.targets.region import Operator, Region
from edgeweave.targets.registry import find_backend

INT8, FLOAT = "tensor(int8)", "tensor(float)"
PAGE = Path(__file__).parents[3] / "docs" / "handoff.md"


def region(*kinds, precision="int8", shape=(1, 8, 6, 6), border=INT8, domain=""):
    operators = (
        Operator("DequantizeLinear", "", "dq"),
        *(Operator(kind, domain, kind) for kind in kinds),
        Operator("QuantizeLinear", "", "q"),
    )
    values = tuple(ValueSpec(name, border, shape) for name in "xy")
    return Region(0, operators, values[:1], values[1:], 1, 1, 0, precision, "d")


def rule_of(region, engine):
    refusal = BACKEND.refusal(region, engine)
    return None if refusal is None else refusal.rule


def test_the_registry_finds_it_and_it_neither_lacks_nor_states_anything():
    assert find_backend("handoff") is BACKEND
    assert (BACKEND.name, BACKEND.consumes) == ("handoff", "onnx")
    assert (BACKEND.estimates, BACKEND.missing()) == (False, "")
    assert BACKEND.target(None) is None


def test_every_rule_has_its_own_id_and_a_sentence():
    ids = [rule.id for rule in BACKEND.rules]
    assert len(set(ids)) == len(ids)
    assert all(rule.id.startswith("handoff.") and rule.text.endswith(".") for rule in BACKEND.rules)


def test_a_quantised_convolution_is_taken_by_every_tool(make_npu, vendor):
    assert rule_of(region("Conv", "Relu"), make_npu(vendor)) is None


@pytest.mark.parametrize("kind", ["cpu", "gpu", "dsp"])
def test_only_npus_are_handed_over(make_npu, vendor, kind):
    refusal = BACKEND.refusal(region("Conv"), make_npu(vendor, kind))
    assert refusal is not None
    assert refusal.rule == "handoff.engine"
    assert f"npu0 is a {kind}" in refusal.reason


def test_an_engine_without_a_tool_is_refused_and_a_wrong_one_is_an_error(make_npu):
    refusal = BACKEND.refusal(region("Conv"), make_npu({}))
    assert refusal is not None
    assert refusal.rule == "handoff.engine"
    assert "names no vendor's tool" in refusal.reason
    with pytest.raises(TargetError, match=r"engine npu0: vendor\.tool 'abc'"):
        BACKEND.refusal(region("Conv"), make_npu({"tool": "abc"}))


@pytest.mark.parametrize("precision", ["float32", "int64", "bfloat16"])
def test_what_is_not_quantised_stays_elsewhere(make_npu, vendor, precision):
    assert rule_of(region("Conv", precision=precision), make_npu(vendor)) == "handoff.precision"


def test_a_quantised_region_has_small_integers_at_its_border(make_npu, vendor):
    refusal = BACKEND.refusal(region(border=FLOAT), make_npu(vendor))
    assert refusal is not None
    assert (refusal.rule, refusal.reason) == (
        "handoff.precision",
        "'x' at its border is tensor(float)",
    )


def test_float16_goes_where_the_tool_takes_it(make_npu, vendors):
    half = region("Conv", precision="float16", border="tensor(float16)")
    taken = {name for name, table in vendors.items() if rule_of(half, make_npu(table)) is None}
    assert taken == {"rknn", "dla"}


@pytest.mark.parametrize("kind", ["Loop", "If", "NonMaxSuppression", "TopK", "Einsum"])
def test_an_operator_outside_the_table_is_refused_by_name(make_npu, vendor, kind):
    refusal = BACKEND.refusal(region("Conv", kind), make_npu(vendor))
    assert refusal is not None
    assert refusal.rule == "handoff.operator"
    assert refusal.reason.startswith(f"{kind} is not in the table")


def test_an_operator_of_another_domain_is_refused_whatever_its_name(make_npu, vendor):
    refusal = BACKEND.refusal(region("Conv", domain="com.vendor"), make_npu(vendor))
    assert refusal is not None
    assert refusal.reason.startswith("com.vendor.Conv is not")


@pytest.mark.parametrize("shape", [None, (None, 8, 6, 6), (1, 8, None, 6)])
def test_open_shapes_are_refused(make_npu, vendor, shape):
    refused = rule_of(region("Conv", shape=shape), make_npu(vendor))
    assert refused == "handoff.static-shapes"


@pytest.mark.parametrize(
    ("tool", "shape", "reason"),
    [
        ("dla", (1, 8), "'x' has 2 dimensions, and TensorRT (trtexec) takes 4"),
        ("dla", (1, 8, 1, 8193), "'x' is 8193 long; the limit is 8192"),
        ("vip8000", (1, 1, 1, 1, 1), "takes 1 to 4"),
        ("qnn", (1,) * 6, "takes 1 to 5"),
        ("tidl", (1,) * 7, "takes 1 to 6"),
    ],
)
def test_sizes_that_a_tool_does_not_take_are_refused(make_npu, vendors, tool, shape, reason):
    refusal = BACKEND.refusal(region("Add", shape=shape), make_npu(vendors[tool]))
    assert refusal is not None
    assert refusal.rule == "handoff.sizes"
    assert reason in refusal.reason


def test_a_batch_is_refused_for_operators_that_the_tool_takes_singly(make_npu, vendors):
    rknn, qnn = make_npu(vendors["rknn"]), make_npu(vendors["qnn"])
    assert rule_of(region("Softmax", shape=(2, 10)), rknn) == "handoff.batch"
    assert rule_of(region("Softmax", shape=(1, 10)), rknn) is None
    assert rule_of(region("Relu", shape=(2, 10)), rknn) is None
    assert rule_of(region("Softmax", shape=(2, 10)), qnn) is None


def test_the_page_lists_the_operators_of_every_tool():
    rows = [line.split("|") for line in PAGE.read_text("utf-8").splitlines() if "|" in line]
    listed = {row[1].strip().strip("`"): row[2].split() for row in rows if len(row) == 4}
    for tool in TOOLS.values():
        assert listed[tool.name] == sorted(tool.operators), tool.name
