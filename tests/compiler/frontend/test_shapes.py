from __future__ import annotations

import onnx
import pytest

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend import load_model

IMAGE = "g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }"
PAIR = "g (float[N,3] a, float[N,3] b) => (float[N,3] y) { y = Add(a, b) }"


def refused(source, shapes) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(source, shapes)
    return caught.value


def test_a_given_shape_fixes_input_and_output_in_both_protos(build):
    model = load_model(build(IMAGE), {"x": (1, 3, 8, 8)})
    assert model.inputs[0].shape == (1, 3, 8, 8)
    assert model.outputs[0].shape == (1, 3, 8, 8)
    dims = model.original.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 3, 8, 8]


def test_a_dimension_left_open_is_refused_naming_input_dimension_and_option(build):
    error = refused(build(IMAGE), {})
    assert "'x'" in error.subject
    assert "dimension 0 ('N')" in error.reason
    assert "--shape x=1,3,1,1" in error.next_step


def test_an_open_dimension_without_a_name_is_named_by_its_position(build):
    proto = build("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[1].Clear()
    error = refused(proto, {})
    assert "dimension 1 is not fixed" in error.reason
    assert "declared: 2,?" in error.reason
    assert "--shape x=2,1" in error.next_step


def test_a_dimension_of_minus_one_is_open(build):
    proto = build("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert "dimension 0" in refused(proto, {}).reason
    assert load_model(proto, {"x": (5, 3)}).outputs[0].shape == (5, 3)


def test_an_input_of_unknown_rank_is_refused_and_can_be_fixed(build):
    proto = build("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.ClearField("shape")
    error = refused(proto, {})
    assert "number of dimensions is not fixed" in error.reason
    assert "--shape x=" in error.next_step
    assert load_model(proto, {"x": (4, 5)}).outputs[0].shape == (4, 5)


def test_a_named_dimension_fixed_in_one_input_is_fixed_in_the_other(build):
    model = load_model(build(PAIR), {"a": (4, 3)})
    assert model.inputs[1].shape == (4, 3)


def test_a_named_dimension_with_two_sizes_is_refused(build):
    error = refused(build(PAIR), {"a": (4, 3), "b": (5, 3)})
    assert "'N' is 5 here and 4 in input 'a'" in error.reason


def test_a_shape_for_an_unknown_input_is_refused_with_the_known_ones(build):
    error = refused(build(PAIR), {"c": (4, 3)})
    assert "no such input" in error.reason
    assert "a, b" in error.next_step


def test_a_shape_of_wrong_rank_is_refused(build):
    assert "4 dimensions, the option gives 2" in refused(build(IMAGE), {"x": (1, 3)}).reason


def test_a_shape_against_a_static_dimension_is_refused(build):
    error = refused(build(IMAGE), {"x": (1, 4, 8, 8)})
    assert "dimension 1 is 3 in the model and 4 in the option" in error.reason


@pytest.mark.parametrize("size", [0, -1])
def test_a_dimension_that_is_not_positive_is_refused(build, size):
    assert "positive" in refused(build(IMAGE), {"x": (size, 3, 8, 8)}).reason


def test_a_static_dimension_of_zero_in_the_file_is_taken(build):
    model = load_model(build("g (float[0,3] x) => (float[0,3] y) { y = Relu(x) }"), {"x": (0, 3)})
    assert model.inputs[0].shape == (0, 3)


def test_a_shape_for_a_sequence_is_refused_and_none_is_asked_for(build):
    proto = build("g (seq(float[N]) x) => (int64 y) { y = SequenceLength(x) }")
    assert "is no tensor" in refused(proto, {"x": (1,)}).reason
    assert load_model(proto).inputs[0].type == "seq(tensor(float))"


def test_a_claim_about_an_inner_value_that_the_shape_contradicts_is_dropped(build):
    proto = build(
        "g (float[N,4] x) => (float[M] y) { s = Shape(x) r = Relu(x) y = Reshape(r, m) }",
    )
    proto.graph.initializer.append(onnx.helper.make_tensor("m", onnx.TensorProto.INT64, [1], [-1]))
    proto.graph.value_info.append(
        onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, [7, 4])
    )
    model = load_model(proto, {"x": (2, 4)})
    assert model.outputs[0].shape == (8,)


def test_a_wrong_claim_about_an_output_gives_way_to_what_the_model_computes(build):
    model = load_model(build("g (float[2] x) => (float[9] y) { y = com.microsoft.Gelu(x) }"))
    assert model.outputs[0].shape in ((2,), (None,))
