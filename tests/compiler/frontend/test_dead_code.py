from __future__ import annotations

import numpy as np

from edgeweave.compiler.frontend import load_model


def test_identity_dropout_and_unread_nodes_go(build, counts, operators):
    model = load_model(
        build(
            """g (float[2] x) => (float[2] y) {
                 a = Identity(x)
                 unread = Exp(a)
                 b, mask = Dropout(a)
                 y = Relu(b)
               }"""
        )
    )
    assert operators(model) == ["Relu"]
    assert counts(model) == {"identity": 3}


def test_weights_that_nobody_reads_go(build):
    proto = build(
        "g (float[2] x) => (float[2] y) { u = Add(x, w) y = Relu(x) }",
        {"w": np.ones(2, np.float32)},
    )
    assert not load_model(proto).proto.graph.initializer


def test_an_identity_from_input_to_output_stays(build, operators):
    model = load_model(build("g (float[2] x) => (float[2] y) { y = Identity(x) }"))
    assert operators(model) == ["Identity"]


def test_two_outputs_of_the_same_value_keep_both_names(build, run):
    model = load_model(
        build("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Identity(y) }")
    )
    assert [spec.name for spec in model.outputs] == ["y", "z"]
    a, b = run(model.proto)
    np.testing.assert_array_equal(a, b)


def test_an_identity_that_ends_the_model_hands_its_name_over(build, operators):
    model = load_model(build("g (float[2] x) => (float[2] y) { a = Relu(x) y = Identity(a) }"))
    assert operators(model) == ["Relu"]
    assert model.outputs[0].name == "y"


def test_a_dropout_whose_mask_is_read_stays(build, operators):
    model = load_model(build("g (float[2] x) => (float[2] y, bool[2] m) { y, m = Dropout(x) }"))
    assert operators(model) == ["Dropout"]


def test_a_dropout_that_trains_stays(build, operators):
    weights = {"r": np.array(0.5, np.float32), "t": np.array(True)}
    graph = "g (float[2] x) => (float[2] y) { a = Dropout(x, r, t) y = Relu(a) }"
    assert operators(load_model(build(graph, weights))) == ["Dropout", "Relu"]
    weights["t"] = np.array(False)
    assert operators(load_model(build(graph, weights))) == ["Relu"]


def test_an_identity_inside_a_branch_that_reads_outside_keeps_the_branch_valid(build, run):
    proto = build(
        """g (bool c, float[2] x) => (float[2] y, float[2] a) {
             a = Relu(x)
             y = If (c) <then_branch = t () => (float[2] p) { p = Identity(a) },
                         else_branch = e () => (float[2] q) { r = Identity(a) q = Neg(r) }>
           }"""
    )
    model = load_model(proto)
    assert model.warnings == ()
    for c in (True, False):
        for a, b in zip(run(proto, c=np.array(c)), run(model.proto, c=np.array(c)), strict=True):
            np.testing.assert_array_equal(a, b)
