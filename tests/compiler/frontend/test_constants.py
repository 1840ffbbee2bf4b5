from __future__ import annotations

import numpy as np
import onnx

from edgeweave.compiler.frontend import load_model


def weight_of(model, name_of_node_type: str, position: int) -> np.ndarray:
    node = next(n for n in model.proto.graph.node if n.op_type == name_of_node_type)
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.proto.graph.initializer}
    return held[node.input[position]]


def test_nodes_that_depend_on_no_input_become_one_initializer(build, counts, operators):
    model = load_model(
        build(
            """g (float[3] x) => (float[3] y) {
                 a = Constant <value_floats = [1.0, 2.0, 3.0]> ()
                 b = Constant <value_float = 2.0> ()
                 c = Mul(a, b)
                 y = Add(x, c)
               }"""
        )
    )
    assert operators(model) == ["Add"]
    assert counts(model) == {"constants": 3}
    np.testing.assert_array_equal(weight_of(model, "Add", 1), [2, 4, 6])
    assert len(model.proto.graph.initializer) == 1


def test_a_large_constant_of_shape_becomes_an_initializer(build, operators):
    model = load_model(
        build(
            """g (float[2,1000] x) => (float[2,1000] y) {
                 s = Constant <value_ints = [1000, 1000]> ()
                 w = ConstantOfShape <value = float[1] {0.5}> (s)
                 y = MatMul(x, w)
               }"""
        )
    )
    assert operators(model) == ["MatMul"]
    assert weight_of(model, "MatMul", 1).shape == (1000, 1000)


def test_the_shape_of_a_value_of_known_shape_is_a_constant(build, operators):
    model = load_model(
        build(
            """g (float[2,3,4] x) => (float[2,12] y) {
                 r = Relu(x)
                 s = Shape <start = 0, end = 1> (r)
                 m = Constant <value_ints = [-1]> ()
                 t = Concat <axis = 0> (s, m)
                 y = Reshape(r, t)
               }"""
        )
    )
    assert operators(model) == ["Relu", "Reshape"]
    np.testing.assert_array_equal(weight_of(model, "Reshape", 1), [2, -1])
    assert model.outputs[0].shape == (2, 12)


def test_the_size_of_a_value_of_known_shape_is_a_constant(build, run):
    model = load_model(build("g (int64[2,3] x) => (int64[2,3] y) { n = Size(x) y = Add(x, n) }"))
    (y,) = run(model.proto, x=np.zeros((2, 3), np.int64))
    assert (y == 6).all()
    assert [n.op_type for n in model.proto.graph.node] == ["Add"]


def test_a_shape_that_depends_on_the_data_is_no_constant(build, operators):
    model = load_model(build("g (float[4] x) => (int64[2] y) { i = NonZero(x) y = Shape(i) }"))
    assert operators(model) == ["NonZero", "Shape"]


def test_a_wrong_shape_claimed_by_the_file_is_not_believed(build, run):
    proto = build("g (float[2,3] x) => (int64[2] y) { r = Relu(x) s = Shape(r) y = Neg(s) }")
    proto.graph.value_info.append(
        onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, [5, 5])
    )
    (y,) = run(load_model(proto).proto)
    np.testing.assert_array_equal(y, [-2, -3])


def test_quantised_weights_stay_quantised(build, operators):
    weights = {
        "q": np.ones((3, 4), np.int8),
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.int8),
    }
    model = load_model(
        build(
            "g (float[2,3] x) => (float[2,4] y) { w = DequantizeLinear(q, s, z) y = MatMul(x, w) }",
            weights,
        )
    )
    assert operators(model) == ["DequantizeLinear", "MatMul"]


def test_random_numbers_are_no_constants(build, operators):
    model = load_model(
        build("g (float[3] x) => (float[3] y) { r = RandomNormal <shape = [3]> () y = Add(x, r) }")
    )
    assert operators(model) == ["RandomNormal", "Add"]


def test_a_constant_that_the_model_returns_keeps_its_node_and_name(build, run):
    model = load_model(
        build(
            """g (float[1] x) => (float[1] y, float c) {
                 c = Constant <value_float = 3.0> () y = Add(x, c)
               }"""
        )
    )
    assert [spec.name for spec in model.outputs] == ["y", "c"]
    assert run(model.proto, x=np.ones(1, np.float32))[1] == 3.0


def test_constants_of_text_are_folded(build, run):
    proto = build(
        """g (int64 i) => (string y) {
             a = Constant <value_strings = ["p", "q"]> ()
             b = Identity(a)
             y = Gather(b, i)
           }"""
    )
    (y,) = run(load_model(proto).proto, i=np.array(1))
    assert y == "q"


def test_a_constant_of_no_axes_keeps_having_none(build, run):
    proto = build(
        """g (float[4] x) => (float y) {
             a = Constant <value_int = 1> ()
             b = Constant <value_int = 2> ()
             i = Add(a, b)
             y = Gather(x, i)
           }"""
    )
    model = load_model(proto)
    assert model.outputs[0].shape == ()
    (y,) = run(model.proto, x=np.arange(4, dtype=np.float32))
    assert y == 3


def test_folding_that_onnx_runtime_refuses_is_left_out_with_a_warning(build):
    # Its Range takes a limit of one element at run time and refuses it as a constant.
    proto = build(
        """g (int64[1] x) => (int64[n] y) {
             a = Constant <value_int = 0> ()
             b = Constant <value_int = 1> ()
             l = If (f) <then_branch = t () => (int64[1] p) { p = Identity(c) },
                         else_branch = e () => (int64[1] q) { q = Neg(c) }>
             r = Range(a, l, b)
             y = Add(r, x)
           }""",
        {"c": np.array([3], np.int64), "f": np.array(True)},
    )
    model = load_model(proto)
    assert "rewrite 'constants' was left out" in " ".join(model.warnings)
    assert "Range" in {node.op_type for node in model.proto.graph.node}
