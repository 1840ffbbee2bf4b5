from __future__ import annotations

import numpy as np
import pytest

from edgeweave.compiler.frontend import load_model

CHOICE = """g (float[2] x) => (float[2] y) {{
  k = Constant <value_int = {flag}> ()
  c = Cast <to = 9> (k)
  z = If (c) <then_branch = t () => (float[2] p) {{ a = Relu(x) p = Exp(a) }},
              else_branch = e () => (float[2] q) {{ a = Neg(x) q = Abs(a) }}>
  y = Mul(z, z)
}}"""


@pytest.mark.parametrize(("flag", "taken"), [(1, ["Relu", "Exp"]), (0, ["Neg", "Abs"])])
def test_an_if_of_constant_condition_becomes_the_branch_it_takes(
    build, counts, operators, flag, taken
):
    model = load_model(build(CHOICE.format(flag=flag)))
    assert operators(model) == [*taken, "Mul"]
    assert counts(model)["if"] == 1


def test_an_if_that_depends_on_the_input_stays(build, operators):
    model = load_model(
        build(
            """g (bool c, float[2] x) => (float[2] y) {
                 y = If (c) <then_branch = t () => (float[2] p) { p = Relu(x) },
                             else_branch = e () => (float[2] q) { q = Neg(x) }>
               }"""
        )
    )
    assert operators(model) == ["If"]


def test_two_ifs_with_the_same_inner_names_are_inlined_without_a_clash(build, run):
    proto = build(
        """g (float[2] x) => (float[2] y, float[2] z) {
             y = If (c) <then_branch = t () => (float[2] p) { a = Relu(x) p = Exp(a) },
                         else_branch = e () => (float[2] p) { p = Neg(x) }>
             z = If (c) <then_branch = t () => (float[2] p) { a = Neg(x) p = Exp(a) },
                         else_branch = e () => (float[2] p) { p = Neg(x) }>
           }""",
        {"c": np.array(True)},
    )
    model = load_model(proto)
    assert model.warnings == ()
    assert [spec.name for spec in model.outputs] == ["y", "z"]
    names = [name for node in model.proto.graph.node for name in node.output]
    assert len(set(names)) == len(names)
    for a, b in zip(run(proto), run(model.proto), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nested_ifs_and_the_weights_of_branches_are_inlined(build, operators, run):
    proto = build(
        """g (float[2] x) => (float[2] y) {
             y = If (c) <then_branch = t () => (float[2] p) {
                 w = Constant <value_floats = [1.0, 2.0]> ()
                 d = Not(c)
                 p = If (d) <then_branch = tt () => (float[2] u) { u = Relu(x) },
                             else_branch = then_end () => (float[2] v) { v = Add(x, w) }>
               }, else_branch = e () => (float[2] q) { q = Neg(x) }>
           }""",
        {"c": np.array([True])},
    )
    model = load_model(proto)
    assert operators(model) == ["Add"]
    np.testing.assert_array_equal(run(model.proto)[0], run(proto)[0])


def test_a_branch_that_returns_a_value_from_outside_is_inlined(build, run):
    proto = build(
        """g (float[2] x) => (float[2] y, float[2] z) {
             y = Relu(x)
             z = If (c) <then_branch = t () => (float[2] p) { p = Identity(y) },
                         else_branch = e () => (float[2] q) { q = Neg(x) }>
           }""",
        {"c": np.array(True)},
    )
    model = load_model(proto)
    assert [spec.name for spec in model.outputs] == ["y", "z"]
    for a, b in zip(run(proto), run(model.proto), strict=True):
        np.testing.assert_array_equal(a, b)


def test_skipping_the_rewrite_keeps_the_if(build, operators):
    assert "If" in operators(load_model(build(CHOICE.format(flag=1)), skip=["if"]))
