import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgeweave.targets.npu_ethos_u.emit.refusals import RULES
from edgeweave.targets.npu_ethos_u.emit.stage import SUPPORTED, Border, Refused, emit_stage
from edgeweave.targets.npu_ethos_u.emit.table import EMITTERS

IMAGE = (1, 8, 10, 12)


def test_borders_say_how_images_lie(check, n, draw):
    nodes = [n("Conv", "x w", "y"), n("GlobalAveragePool", "x", "g"), n("Flatten", "g", "z")]
    outcome = check(nodes, {"x": IMAGE}, {"w": draw(4, 8, 3, 3)}, outputs=("z", "y"))
    assert outcome.tflite.inputs == (Border("x/q", (0, 2, 3, 1)),)
    assert outcome.tflite.outputs == (Border("z/q"), Border("y/q", (0, 3, 1, 2)))


def test_several_inputs_keep_their_order_and_an_output_may_be_read_inside(check, n, draw):
    nodes = [
        n("Conv", "x w", "c", pads=[1] * 4),
        n("Relu", "c", "d"),
        n("Add", "d a", "e"),
        n("Mul", "e d", "y"),
    ]
    inputs = {"b": (3, 4), "x": IMAGE, "a": IMAGE}
    nodes.append(n("Exp", "b", "f"))
    outcome = check(nodes, inputs, {"w": draw(8, 8, 3, 3)}, outputs=("f", "d", "y", "e"))
    assert outcome.difference <= 2  # two operators, one behind the other
    assert [border.name for border in outcome.tflite.inputs] == ["b/q", "x/q", "a/q"]
    assert [border.name for border in outcome.tflite.outputs] == ["f/q", "d/q", "y/q", "e/q"]


def test_a_value_that_many_read_is_laid_out_once(check, n):
    nodes = [n("Reshape", "x s", "a"), n("Exp", "a", "y"), n("LeakyRelu", "a", "z")]
    nodes += [n("Reshape", "x s", "b"), n("HardSwish", "b", "v")]
    constants = {"s": np.array([1, -1])}
    outcome = check(nodes, {"x": IMAGE}, constants, outputs=("y", "z", "v"), keep=True)
    assert outcome.difference <= 1
    assert outcome.codes.count("TRANSPOSE") == 1


def test_a_value_that_is_quantised_again_changes_its_scale(quantised, compare, n):
    model = quantised([n("Identity", "x", "y")], {"x": IMAGE})
    (identity,) = (node for node in model.graph.node if node.op_type == "Identity")
    model.graph.node.remove(identity)
    model.graph.node[-1].input[0] = identity.input[0]
    values = {i.name: i for i in model.graph.initializer}
    values["y/scale"].raw_data = np.float32(0.07).tobytes()
    outcome = compare(model)
    assert outcome.difference <= 1
    assert outcome.codes == ["QUANTIZE"]


def test_one_tensor_given_twice_is_copied(quantised, compare, n):
    model = quantised(
        [n("Exp", "x", "y"), n("Identity", "y", "z")], {"x": IMAGE}, outputs=("y", "z")
    )
    values = {i.name: i for i in model.graph.initializer}
    for part in ("scale", "zero"):
        values[f"z/{part}"].raw_data = values[f"y/{part}"].raw_data
    outcome = compare(model)
    assert outcome.difference == 0
    assert outcome.codes == ["EXP", "QUANTIZE"]


def test_uint8_outside_is_int8_inside(check, n, draw):
    nodes = [n("Conv", "x w b", "v", pads=[1] * 4), n("Relu", "v", "y")]
    constants = {"w": draw(12, 8, 3, 3), "b": draw(12)}
    outcome = check(nodes, {"x": IMAGE}, constants, uint8=True)
    assert outcome.difference <= 1
    assert outcome.codes == ["QUANTIZE", "CONV_2D", "QUANTIZE"]


def test_going_to_int8_and_back_changes_no_bit(quantised, compare, n):
    model = quantised([n("Identity", "x", "y")], {"x": IMAGE}, uint8=True)
    values = {i.name: i for i in model.graph.initializer}
    for part in ("scale", "zero"):
        values[f"y/{part}"].raw_data = values[f"x/{part}"].raw_data
    assert compare(model).difference == 0


def test_an_input_that_nobody_reads_is_taken(quantised, compare, n):
    model = quantised([n("Exp", "x", "y")], {"x": IMAGE})
    model.graph.input.append(helper.make_tensor_value_info("u/q", TensorProto.INT8, [3]))
    outcome = compare(model)
    assert outcome.difference <= 1
    assert len(outcome.tflite.inputs) == 2


def test_equal_models_give_equal_bytes(quantised, n, draw):
    nodes = [n("Conv", "x w", "v"), n("Relu", "v", "y")]
    model = quantised(nodes, {"x": IMAGE}, {"w": draw(4, 8, 3, 3)})
    assert emit_stage(model, "a").blob == emit_stage(model, "b").blob


def test_an_operator_without_a_tflite_form_is_refused_under_the_stage_s_name(check, n):
    with pytest.raises(Refused, match="Erf") as caught:
        check([n("Erf", "x", "y")], {"x": IMAGE})
    assert (caught.value.rule, caught.value.subject) == ("ethos-u.operator", "test")


def test_every_operator_of_the_table_is_said_to_be_supported():
    assert set(SUPPORTED) == (set(EMITTERS) - {"Requantise"}) | {
        "QuantizeLinear",
        "DequantizeLinear",
    }
    assert list(SUPPORTED[2:]) == sorted(SUPPORTED[2:])


def test_rules_are_sentences():
    for rule, text in RULES.items():
        assert rule.startswith("ethos-u.")
        assert text[0].isupper()
        assert text.endswith(".")


class _Random(CalibrationDataReader):
    def __init__(self, shape):
        draw = np.random.default_rng(0)
        samples = (draw.standard_normal(shape).astype(np.float32) for _ in range(4))
        self.samples = iter([{"x": sample} for sample in samples])

    def get_next(self):
        return next(self.samples, None)


def test_a_network_as_onnx_runtime_quantises_it(n, draw, compare, tmp_path, without_borders, net):
    onnx.save(net, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "qdq.onnx",
        _Random((1, 3, 32, 32)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    outcome = compare(without_borders(onnx.load(tmp_path / "qdq.onnx")))
    assert outcome.difference <= 3  # twelve operators deep
    assert outcome.codes.count("CONV_2D") == 5
    assert "TRANSPOSE" not in outcome.codes


@pytest.fixture
def net(n, draw):
    """A residual network with a depthwise convolution, a concatenation and a classifier."""
    same = {"pads": [1] * 4}
    nodes = [
        n("Conv", "x w0", "a", strides=[2, 2], **same),
        n("Relu", "a", "b"),
        n("Conv", "b w1", "c", group=16, **same),
        n("Relu", "c", "d"),
        n("Conv", "d w2", "e"),
        n("Add", "e b", "f"),
        n("Relu", "f", "g"),
        n("MaxPool", "g", "h", kernel_shape=[2, 2], strides=[2, 2]),
        n("Conv", "h w3", "i", dilations=[2, 2], pads=[2] * 4),
        n("Concat", "h i", "j", axis=1),
        n("Conv", "j w4", "k", strides=[2, 2], **same),
        n("Relu", "k", "l"),
        n("Flatten", "l", "m"),
        n("Gemm", "m w5 b5", "y", transB=1),
    ]
    shapes = [(16, 3, 3, 3), (16, 1, 3, 3), (16, 16, 1, 1), (8, 16, 3, 3), (12, 24, 3, 3)]
    constants = {f"w{place}": draw(*shape) * 0.2 for place, shape in enumerate(shapes)}
    constants |= {"w5": draw(10, 192) * 0.1, "b5": draw(10)}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 32, 32))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10))],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    imports = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


@pytest.fixture
def without_borders():
    """Takes the first Q and the last DQ off, as they are stages of a CPU."""

    def strip(model):
        inferred = onnx.shape_inference.infer_shapes(model).graph
        infos = {i.name: i for i in (*inferred.value_info, *inferred.input, *inferred.output)}
        (taken,), (given,) = model.graph.input, model.graph.output
        first = next(node for node in model.graph.node if taken.name in node.input)
        last = next(node for node in model.graph.node if given.name in node.output)
        assert (first.op_type, last.op_type) == ("QuantizeLinear", "DequantizeLinear")
        model.graph.node.remove(first)
        model.graph.node.remove(last)
        taken.CopyFrom(infos[first.output[0]])
        given.CopyFrom(infos[last.input[0]])
        return model

    return strip
