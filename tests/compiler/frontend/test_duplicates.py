from __future__ import annotations

from edgeweave.compiler.frontend import load_model


def test_equal_nodes_with_equal_inputs_become_one(build, counts, operators):
    model = load_model(
        build("g (float[2] x) => (float[2] y) { a = Exp(x) b = Exp(x) y = Add(a, b) }")
    )
    assert operators(model) == ["Exp", "Add"]
    assert counts(model) == {"duplicates": 1}


def test_nodes_that_differ_in_an_attribute_stay(build, operators):
    model = load_model(
        build(
            """g (float[2] x) => (float[2] y) {
                 a = LeakyRelu <alpha = 0.1> (x) b = LeakyRelu <alpha = 0.2> (x) y = Add(a, b)
               }"""
        )
    )
    assert operators(model) == ["LeakyRelu", "LeakyRelu", "Add"]


def test_two_draws_of_random_numbers_stay_two(build, operators):
    model = load_model(
        build("g (float[2] x) => (float[2] y) { a = Bernoulli(x) b = Bernoulli(x) y = Add(a, b) }")
    )
    assert operators(model) == ["Bernoulli", "Bernoulli", "Add"]


def test_two_equal_outputs_keep_both_names(build):
    model = load_model(
        build("g (float[2] x) => (float[2] y, float[2] z) { y = Exp(x) z = Exp(x) }")
    )
    assert [spec.name for spec in model.outputs] == ["y", "z"]
