import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeweave.targets.npu_ethos_u.emit.quantized import Quantisation
from edgeweave.targets.npu_ethos_u.emit.reading import read_quantized
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 6, 6)
SCALES = {"s": np.float32(0.5), "t": np.float32(0.25), "z": np.int8(3)}


def build(
    nodes,
    kind=TensorProto.INT8,
    shape=IMAGE,
    given="y/q",
    constants=SCALES,
    imports=(),
    gives=TensorProto.INT8,
):
    """A hand-written model; nodes are (operator, inputs, output)."""
    made = [helper.make_node(o, i.split(), [out], domain="".join(d)) for o, i, out, *d in nodes]
    values = [helper.make_tensor_value_info("x/q", kind, shape)]
    results = [helper.make_tensor_value_info(given, gives, None)]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(made, "g", values, results, initializers)
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(d, 1) for d in imports)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


TAKE = ("DequantizeLinear", "x/q s z", "x")
GIVE = ("QuantizeLinear", "y t z", "y/q")


def test_a_value_that_is_quantised_again_is_an_operator():
    graph = read_quantized(build([TAKE, ("QuantizeLinear", "x t z", "y/q")]))
    (operator,) = graph.operators
    assert operator.value(0).quantisation == Quantisation(0.5, 3)
    assert operator.output.quantisation == Quantisation(0.25, 3)


def test_uint8_is_int8_less_128():
    nodes = [("DequantizeLinear", "x/q s u", "x"), ("QuantizeLinear", "x t z", "y/q")]
    graph = read_quantized(build(nodes, TensorProto.UINT8, constants={**SCALES, "u": np.uint8(7)}))
    assert graph.inputs[0].dtype == "uint8"
    assert graph.inputs[0].value.quantisation == Quantisation(0.5, 7 - 128)


def test_a_zero_point_may_be_missing():
    nodes = [
        ("DequantizeLinear", "x/q s", "x"),
        ("Relu", "x", "y"),
        ("QuantizeLinear", "y t", "y/q"),
    ]
    graph = read_quantized(build(nodes, gives=TensorProto.UINT8))
    assert graph.inputs[0].value.quantisation == Quantisation(0.5, 0)
    # without a zero point, ONNX quantises to uint8
    assert graph.outputs[0].dtype == "uint8"


def test_constants_may_be_nodes():
    model = build([TAKE, ("Relu", "x", "y"), GIVE], constants={"t": np.float32(0.25)})
    for name in ("s", "z"):
        tensor = numpy_helper.from_array(np.asarray(SCALES[name]))
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    assert read_quantized(model).operators[0].kind == "Relu"


def test_a_result_with_two_scales_has_two_operators():
    nodes = [TAKE, ("Exp", "x", "y"), GIVE, ("QuantizeLinear", "y s z", "v/q")]
    graph = read_quantized(build(nodes))
    assert [operator.output.name for operator in graph.operators] == ["y/q", "v/q"]


def test_an_input_that_nobody_reads_stays():
    model = build([TAKE, ("Relu", "x", "y"), GIVE])
    model.graph.input.append(helper.make_tensor_value_info("u/q", TensorProto.INT8, [2]))
    assert [border.name for border in read_quantized(model).inputs] == ["x/q", "u/q"]


REFUSED = {
    "a float input": (
        [("Relu", "x/q", "y"), GIVE],
        {"kind": TensorProto.FLOAT},
        "quantised",
        "'x/q' is float",
    ),
    "a float output": ([TAKE, ("Relu", "x", "y")], {"given": "y"}, "quantised", "output 'y'"),
    "a float output that was a value": ([TAKE], {"given": "x"}, "quantised", "output 'x'"),
    "an operator on numbers": (
        [("Flatten", "x/q", "y/q")],
        {},
        "quantised",
        "not quantised before it",
    ),
    "a result that another operator reads": (
        [TAKE, ("Exp", "x", "v"), ("Exp", "v", "y"), GIVE],
        {},
        "quantised",
        "before it is quantised",
    ),
    "an operator after a bound": (
        [TAKE, ("Exp", "x", "v"), ("Relu", "v", "w"), ("Exp", "w", "y"), GIVE],
        {},
        "quantised",
        "before it is quantised",
    ),
    "two scales for one value": (
        [TAKE, ("Relu", "x", "y"), GIVE, ("DequantizeLinear", "y/q s z", "v")],
        {},
        "quantised",
        "different scales",
    ),
    "16 bits": (
        [("DequantizeLinear", "x/q s", "x"), ("Relu", "x", "y"), GIVE],
        {"kind": TensorProto.INT16},
        "quantised",
        "int16",
    ),
    "16 bits inside": (
        [TAKE, ("Relu", "x", "y"), ("QuantizeLinear", "y t h", "y/q")],
        {"constants": {**SCALES, "h": np.int16(0)}},
        "quantised",
        "int16",
    ),
    "a constant of 16 bits": (
        [TAKE, ("DequantizeLinear", "h s", "c"), ("Add", "x c", "y"), GIVE],
        {"constants": {**SCALES, "h": np.int16([1])}},
        "quantised",
        "not 8 bits",
    ),
    "several scales": (
        [("DequantizeLinear", "x/q p", "x"), ("Relu", "x", "y"), GIVE],
        {"constants": {**SCALES, "p": np.full(8, 0.5, np.float32)}},
        "quantised",
        "no single positive scale",
    ),
    "a scale of zero": (
        [("DequantizeLinear", "x/q p", "x"), ("Relu", "x", "y"), GIVE],
        {"constants": {**SCALES, "p": np.float32(0)}},
        "quantised",
        "no single positive scale",
    ),
    "a scale that is computed": (
        [TAKE, ("ReduceMax", "x", "p"), ("Relu", "x", "y"), ("QuantizeLinear", "y p z", "y/q")],
        {},
        "quantised",
        "",
    ),
    "an unknown shape": (
        [TAKE, ("Relu", "x", "y"), GIVE],
        {"shape": (1, "n", 6, 6)},
        "shape",
        "not fixed",
    ),
    "a shape that nobody infers": (
        [TAKE, ("Gelu", "x", "y", "com.microsoft"), GIVE],
        {"imports": ["com.microsoft"]},
        "shape",
        "not known",
    ),
    "no elements": ([TAKE, ("Relu", "x", "y"), GIVE], {"shape": (1, 0)}, "shape", "empty"),
    "a scalar": ([TAKE, ("Relu", "x", "y"), GIVE], {"shape": ()}, "shape", "no axes"),
    "a vendor's operator": (
        [TAKE, ("Relu", "x", "y", "com.vendor"), GIVE],
        {"imports": ["com.vendor"]},
        "operator",
        "com.vendor",
    ),
    "a value that nothing made": (
        [TAKE, ("Exp", "x", "y"), GIVE, ("DequantizeLinear", "v s z", "w")],
        {},
        "quantised",
        "nothing made it",
    ),
    "a constant that is quantised here": (
        [TAKE, ("QuantizeLinear", "s t z", "y/q")],
        {},
        "quantised",
        "quantised inside",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    nodes, how, rule, words = REFUSED[case]
    with pytest.raises(Refused) as caught:
        read_quantized(build(nodes, **how))
    assert caught.value.rule == f"ethos-u.{rule}"
    assert words in caught.value.reason


def test_constants_in_short_form_are_refused():
    model = build([TAKE, ("Relu", "x", "y"), GIVE])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value_float=1.0))
    with pytest.raises(Refused, match="short form"):
        read_quantized(model)


def test_the_model_is_left_as_it_was():
    model = build([TAKE, ("Relu", "x", "y"), GIVE])
    before = onnx.ModelProto.FromString(model.SerializeToString())
    read_quantized(model)
    assert model == before
