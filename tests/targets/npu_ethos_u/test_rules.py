"""What is refused before anything is built; nothing of it needs Vela or LiteRT."""

import dataclasses

import pytest

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.npu_ethos_u import rules
from edgeweave.targets.npu_ethos_u.backend import BACKEND
from edgeweave.targets.npu_ethos_u.emit.refusals import RULES as EMITTER_RULES
from edgeweave.targets.npu_ethos_u.emit.table import SUPPORTED
from edgeweave.targets.npu_ethos_u.operators import OPERATORS
from edgeweave.targets.region import Operator, Region

X = ValueSpec("x", "tensor(int8)", (1, 3, 8, 8))
Y = ValueSpec("y", "tensor(uint8)", (1, 4, 8, 8))


def region(*types, inputs=(X,), outputs=(Y,), domain=""):
    wrapped = ("DequantizeLinear", *types, "QuantizeLinear")
    operators = tuple(Operator(t, domain if t in types else "", t) for t in wrapped)
    return Region(0, operators, inputs, outputs, 0, 8, 0, "int8", "d")


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("generation", ["u55", "u65", "u85"])
def test_a_quantised_block_is_taken_without_anything_installed(npu, generation):
    assert BACKEND.refusal(region("Conv", "Relu"), npu(generation)) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "gpu"}, "npu is a gpu"),
        ({"accelerator": None}, "npu names none as its accelerator"),
        ({"accelerator": "ethos-n78"}, "npu names 'ethos-n78' as its accelerator"),
    ],
)
def test_another_engine_is_refused(npu, settings, words):
    refusal = BACKEND.refusal(region("Conv"), npu(**settings))
    assert (refusal.rule, refusal.reason) == ("ethos-u.engine", words)


@pytest.mark.parametrize("kept", [slice(1, None), slice(None, -1), slice(1, 2)])
def test_a_region_that_is_no_quantised_block_is_refused(npu, kept):
    whole = region("Conv")
    part = dataclasses.replace(whole, operators=whole.operators[kept])
    assert BACKEND.refusal(part, npu()).rule == "ethos-u.block"


def test_operators_that_have_no_form_are_named_once(npu):
    refusal = BACKEND.refusal(region("Erf", "LSTM", "Erf"), npu())
    assert refusal.rule == "ethos-u.operator"
    assert refusal.reason.startswith("Erf, LSTM has no form")


def test_an_operator_of_another_domain_is_refused(npu):
    refusal = BACKEND.refusal(region("Conv", domain="com.vendor"), npu())
    assert "com.vendor.Conv has no form" in refusal.reason


def test_an_operator_that_vela_places_elsewhere_only_is_refused(npu, monkeypatch):
    monkeypatch.setattr(rules, "OPERATORS", {**OPERATORS, "Gather": ("GATHER",)})
    refusal = BACKEND.refusal(region("Gather"), npu("u55"))
    assert (refusal.rule, refusal.reason) == (
        "ethos-u.operator",
        "Vela places no GATHER on ethos-u55-128",
    )
    assert BACKEND.refusal(region("Gather"), npu("u85")) is None


@pytest.mark.parametrize(
    ("spec", "rule", "words"),
    [
        (ValueSpec("v", "tensor(float)", (1, 2)), "ethos-u.border", "'v' is a tensor(float)"),
        (ValueSpec("v", "seq(tensor(int8))", None), "ethos-u.border", "'v' is a seq("),
        (ValueSpec("v", "", None), "ethos-u.border", "'v' is a value of unknown type"),
        (ValueSpec("v", "tensor(int8)", (None, 2)), "ethos-u.shape", "'v' depends on the data"),
        (ValueSpec("v", "tensor(int8)", None), "ethos-u.shape", "'v' depends on the data"),
        (ValueSpec("v", "tensor(int8)", (0, 2)), "ethos-u.shape", "'v' has no elements"),
    ],
)
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_borders_are_static_tensors_of_bytes(npu, side, spec, rule, words):
    refusal = BACKEND.refusal(dataclasses.replace(region("Conv"), **{side: (spec,)}), npu())
    assert refusal.rule == rule
    assert words in refusal.reason


def test_the_operators_are_those_that_the_emitter_writes():
    assert set(OPERATORS) == set(SUPPORTED)


def test_every_rule_of_the_emitter_is_documented_once():
    ids = [rule.id for rule in BACKEND.rules]
    assert len(set(ids)) == len(ids)
    assert set(EMITTER_RULES) <= set(ids)
    assert all(rule.text.endswith(".") for rule in BACKEND.rules)
