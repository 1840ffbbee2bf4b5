from __future__ import annotations

import numpy as np
import pytest

from edgeweave.compiler.frontend import load_model


@pytest.mark.parametrize(
    ("terms", "expected"),
    [("a, b, a", ["Add", "Add"]), ("a, b", ["Add"]), ("a", [])],
)
def test_a_sum_becomes_a_chain_of_additions(build, operators, run, terms, expected):
    proto = build(
        f"""g (float[2,3] x, float[3] b) => (float[2,3] y) {{
              a = Relu(x) s = Sum({terms}) y = Neg(s)
            }}"""
    )
    model = load_model(proto)
    assert operators(model) == ["Relu", *expected, "Neg"]
    np.testing.assert_allclose(run(model.proto)[0], run(proto)[0], rtol=1e-6)


def test_a_sum_that_ends_the_model_keeps_the_outputs_name(build, counts):
    model = load_model(
        build("g (float[2] a, float[2] b, float[2] c) => (float[2] y) { y = Sum(a, b, c) }")
    )
    assert model.outputs[0].name == "y"
    assert counts(model) == {"sum": 1}


def test_skipping_the_rewrite_keeps_the_sum(build, operators):
    proto = build("g (float[2] a, float[2] b) => (float[2] y) { y = Sum(a, b) }")
    assert operators(load_model(proto, skip=["sum"])) == ["Sum"]
