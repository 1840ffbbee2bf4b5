from dataclasses import replace

import pytest

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.cpu import BACKEND
from edgeweave.targets.cpu.rules import RULES
from edgeweave.targets.region import Operator, Region

ONE = Quantity(1.0, "test")
CPU = Engine(
    "cpu0", "cpu", "", ("cpu",), {}, ONE, ONE, ONE, llvm_target={"mtriple": "x86_64-linux-gnu"}
)
X, Y = ValueSpec("x", "tensor(float)", (2, 3)), ValueSpec("y", "tensor(float)", (2, 3))
RELU = Region(0, (Operator("Relu", "", "n"),), (X,), (Y,), 6, 48, 0, "float32", "d")


def refused(region: Region, engine: Engine = CPU) -> tuple[str, str]:
    refusal = BACKEND.refusal(region, engine)
    assert refusal is not None
    return refusal.rule, refusal.reason


def with_operator(kind: str, domain: str = "") -> Region:
    return replace(RELU, operators=(Operator("Relu", "", "n"), Operator(kind, domain, "m")))


def test_a_plain_region_on_a_cpu_with_an_llvm_target_is_taken():
    assert BACKEND.refusal(RELU, CPU) is None
    assert BACKEND.rules is RULES


def test_an_engine_that_is_no_cpu_is_refused_by_kind():
    rule, reason = refused(RELU, replace(CPU, name="npu0", kind="npu"))
    assert (rule, reason) == ("cpu.engine", "npu0 is a npu without an LLVM target")


def test_a_cpu_without_an_llvm_target_is_refused():
    assert refused(RELU, replace(CPU, llvm_target={}))[0] == "cpu.engine"


def test_an_operator_tvm_does_not_convert_is_named_once():
    region = with_operator("NonZero")
    twice = replace(region, operators=(*region.operators, *region.operators))
    assert refused(twice) == ("cpu.operators", "TVM's importer has no NonZero")


def test_an_operator_of_another_domain_is_refused_though_its_name_is_known():
    region = with_operator("Relu", "com.vendor")
    assert refused(region) == ("cpu.operators", "TVM's importer has no com.vendor.Relu")


def test_a_region_with_control_flow_is_refused():
    assert refused(replace(RELU, has_subgraph=True))[0] == "cpu.subgraphs"


@pytest.mark.parametrize("kind", ["tensor(bfloat16)", "tensor(string)", "seq(tensor(float))", ""])
def test_a_border_value_of_a_type_without_plain_numbers_is_refused(kind):
    rule, reason = refused(replace(RELU, inputs=(X, ValueSpec("z", kind, (2,)))))
    assert rule == "cpu.types"
    assert (kind or "unknown type") in reason
    assert "'z'" in reason


@pytest.mark.parametrize("shape", [(None, 3), None])
def test_a_border_value_whose_shape_depends_on_the_data_is_refused(shape):
    rule, reason = refused(replace(RELU, outputs=(replace(Y, shape=shape),)))
    assert (rule, reason) == ("cpu.static-shapes", "the shape of 'y' depends on the data")


def test_a_border_value_without_elements_is_refused():
    rule, reason = refused(replace(RELU, inputs=(replace(X, shape=(2, 0)),)))
    assert (rule, reason) == ("cpu.elements", "'x' has no elements")


def test_every_rule_has_an_id_of_its_own_and_is_a_sentence():
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.id.startswith("cpu.") and rule.text.endswith(".") for rule in RULES)


H = ValueSpec("h", "tensor(float16)", (2, 3))
HALVES = replace(RELU, inputs=(H,), outputs=(replace(H, name="y"),), precision="float16")
WIDENED = replace(RELU, inputs=(H,))


def riscv(*attributes: str) -> Engine:
    target = {"mtriple": "riscv64-linux-gnu", "mcpu": "generic-rv64", "mattr": attributes}
    return replace(CPU, llvm_target=target)


@pytest.mark.parametrize("region", [HALVES, WIDENED])
@pytest.mark.parametrize(
    ("attributes", "lacking"),
    [((), "+zfh"), (("+v",), "+zfh and +zvfh"), (("+v", "+zfh"), "+zvfh")],
)
def test_half_precision_on_riscv_is_refused_without_its_instructions(region, attributes, lacking):
    rule, reason = refused(region, riscv(*attributes))
    assert rule == "cpu.halves"
    assert reason == f"it computes in float16, and mattr of cpu0 lacks {lacking}"


def test_half_precision_with_its_instructions_and_elsewhere_is_taken():
    assert BACKEND.refusal(HALVES, riscv("+zfh")) is None
    assert BACKEND.refusal(HALVES, riscv("+v", "+zfh", "+zvfh")) is None
    assert BACKEND.refusal(HALVES, CPU) is None
    assert BACKEND.refusal(RELU, riscv()) is None
