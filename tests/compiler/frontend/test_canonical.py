from __future__ import annotations

import hashlib

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend import REWRITES, canonical, load_model, rewrites
from edgeweave.compiler.frontend.rewrites import RewriteRule

MODEL = """g (float[1,3,8,8] x) => (float[1,4,6,6] y) {
  a = Conv(x, w) i = Identity(a) d = BatchNormalization(i, s, s, s, s) y = Relu(d) }"""
WEIGHTS = {
    "w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32),
    "s": np.full(4, 0.5, np.float32),
}


def with_rule(monkeypatch, rule: RewriteRule) -> None:
    """Add one rewrite to the real ones."""
    for module in (rewrites, canonical):
        monkeypatch.setattr(module, "REWRITES", (*REWRITES, rule))


def double_weights(model: ir.Model) -> int:
    for value in model.graph.initializers.values():
        value.const_value = ir.tensor(value.const_value.numpy() * 2)
    return 1


def test_a_rewrite_that_changes_the_result_is_found_left_out_and_reported(
    build, monkeypatch, counts, run
):
    with_rule(monkeypatch, RewriteRule("wrong", "Doubles weights.", double_weights))
    model = load_model(build(MODEL, WEIGHTS))
    assert model.warnings[0].startswith("rewrite 'wrong' was left out: its outputs differ")
    assert {r.name: r.note for r in model.rewrites}["wrong"].startswith("left out")
    assert counts(model)["batch-norm"] == 1
    np.testing.assert_allclose(run(model.proto)[0], run(model.original)[0], rtol=1e-4, atol=1e-5)


def test_a_rewrite_that_makes_the_model_invalid_is_left_out(build, monkeypatch, counts):
    def break_graph(model: ir.Model) -> int:
        model.graph.append(ir.Node("", "Frob", [], num_outputs=1))
        return 1

    with_rule(monkeypatch, RewriteRule("broken", "Breaks.", break_graph))
    model = load_model(build(MODEL, WEIGHTS))
    assert "rewrite 'broken' was left out" in model.warnings[0]
    assert counts(model)["batch-norm"] == 1


def test_a_rewrite_that_raises_is_left_out(build, monkeypatch, counts):
    def fail(_model: ir.Model) -> int:
        raise RuntimeError("no such\nluck")

    with_rule(monkeypatch, RewriteRule("failing", "Raises.", fail))
    model = load_model(build(MODEL, WEIGHTS))
    assert model.warnings == ("rewrite 'failing' was left out: no such luck",)
    assert counts(model)["batch-norm"] == 1


def test_two_wrong_rewrites_cost_all_rewrites_and_the_model_stays_right(build, monkeypatch, run):
    rules = tuple(RewriteRule(name, "Doubles.", double_weights) for name in ("one", "two"))
    for module in (rewrites, canonical):
        monkeypatch.setattr(module, "REWRITES", (*REWRITES, *rules))
    model = load_model(build(MODEL, WEIGHTS))
    assert len(model.warnings) >= 2
    np.testing.assert_array_equal(run(model.proto)[0], run(model.original)[0])


def test_a_model_the_rewriting_library_cannot_represent_is_returned_as_given(
    build, monkeypatch, run
):
    def refuse(_proto: onnx.ModelProto) -> ir.Model:
        raise ValueError("not representable")

    monkeypatch.setattr(canonical.ir, "from_proto", refuse)
    model = load_model(build(MODEL, WEIGHTS))
    assert model.warnings == ("every rewrite was left out: not representable",)
    assert [n.op_type for n in model.proto.graph.node] == [
        "Conv", "Identity", "BatchNormalization", "Relu",
    ]  # fmt: skip
    assert {info.name for info in model.proto.graph.value_info} == {"a", "i", "d"}


def test_all_values_have_types_and_unique_names(build):
    model = load_model(build(MODEL, WEIGHTS), skip=["batch-norm"])
    produced = [name for node in model.proto.graph.node for name in node.output]
    typed = {info.name for info in model.proto.graph.value_info}
    assert len(set(produced)) == len(produced)
    assert all(produced)
    assert set(produced) - {"y"} == typed


def test_the_digest_is_of_the_canonical_bytes_and_repeats(build):
    proto = build(MODEL, WEIGHTS)
    model = load_model(proto)
    content = model.proto.SerializeToString(deterministic=True)
    assert model.digest == hashlib.sha256(content).hexdigest()
    assert load_model(proto).digest == model.digest


def test_skipping_every_rewrite_keeps_every_node(build, counts, operators):
    model = load_model(build(MODEL, WEIGHTS), skip=[rule.name for rule in REWRITES])
    assert operators(model) == ["Conv", "Identity", "BatchNormalization", "Relu"]
    assert counts(model) == {}


def test_skipping_an_unknown_rewrite_is_refused_with_the_known_names(build):
    with pytest.raises(ModelError) as caught:
        load_model(build(MODEL, WEIGHTS), skip=["frobnicate"])
    assert "frobnicate" in caught.value.subject
    assert "zero-channels" in caught.value.next_step


def test_every_rewrite_has_a_name_of_its_own_and_a_sentence():
    names = [rule.name for rule in REWRITES]
    assert len(set(names)) == len(names)
    assert all(rule.description.endswith(".") for rule in REWRITES)


def test_a_model_that_takes_only_certain_integers_is_compared_on_those(build, operators):
    model = load_model(
        build(
            "g (int64[2] i) => (float[2] y) { a = Gather(w, i) y = Identity(a) }",
            {"w": np.ones(2, np.float32)},
        )
    )
    assert operators(model) == ["Gather"]
    assert model.warnings == ()


def test_a_model_that_takes_no_random_input_is_accepted(build, operators):
    model = load_model(
        build("g (int64[2] i) => (float[2] y) { a = Gather(w, i) y = Identity(a) }",
              {"w": np.ones((0,), np.float32)})
    )  # fmt: skip
    assert operators(model) == ["Gather"]


def test_a_model_that_draws_random_numbers_is_not_compared(build):
    model = load_model(
        build("g (float[2,3] x) => (float[2,3] y) { r = RandomNormalLike(x) y = Add(x, r) }")
    )
    assert model.warnings == ()
