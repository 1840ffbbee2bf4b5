import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from edgeweave.compiler.regions import find_regions


def first(model):
    return find_regions(model).models[0]


def layer(x="x", t="t", y="y", weights="{1, 2, 3, 4}", low="{0.0}", extra=""):
    return f"""g (float[1,2,4,4] {x}) => (float[1,2,4,4] {y})
        <float[2,2,1,1] w = {weights}, float low = {low}> {{
        {t} = Conv{extra}({x}, w)
        {y} = Clip({t}, low)
    }}"""


def test_regions_that_differ_in_names_and_weights_share_a_digest(canonical):
    one = first(canonical(layer()))
    other = first(canonical(layer("p", "q", "r", weights="{5, 6, 7, 8}")))
    assert one.digest == other.digest
    assert (one.inputs, other.inputs) == (("x",), ("p",))


def test_a_constant_an_attribute_and_a_shape_are_part_of_the_digest(canonical):
    digests = {
        first(canonical(text)).digest
        for text in (
            layer(),
            layer(low="{1.0}"),
            layer(extra=" <dilations = [2, 2]>"),
            layer().replace("1,2,4,4", "1,2,5,5"),
        )
    }
    assert len(digests) == 4


def test_weights_follow_the_inputs_and_constants_stay_inside(canonical):
    model = first(canonical(layer()))
    assert (model.inputs, model.weights, model.outputs) == (("x",), ("w",), ("y",))
    assert [info.name for info in model.proto.graph.input] == ["i0", "w0"]
    (constant,) = model.proto.graph.initializer
    assert numpy_helper.to_array(constant) == 0.0
    onnx.checker.check_model(model.proto, full_check=True)


def test_a_weight_that_also_serves_as_a_constant_is_a_constant(canonical):
    text = """g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
        a = Add(x, w)
        y = Where(c, a, w)
    }""".replace("(float[2] x)", "(float[2] x, bool[2] c)")
    models = find_regions(canonical(text)).models
    assert [model.weights for model in models] == [("w",), ()]


def test_a_value_read_twice_and_an_omitted_input_keep_their_places(canonical):
    text = """g (float[2] x) => (float[2] y) <float hi = {6.0}> {
        a = Mul(x, x)
        y = Clip(a, , hi)
    }"""
    nodes = first(canonical(text)).proto.graph.node
    assert list(nodes[0].input) == ["i0", "i0"]
    assert nodes[1].input[1] == ""
    assert len(nodes[1].input) == 3


def run(proto, feeds):
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def test_a_region_with_a_branch_runs_alone_although_names_in_it_are_kept(canonical):
    text = """g (float[2] i0, bool c) => (float[2] y) <float[2] o0 = {1, 2}> {
        t1 = Softmax(i0)
        y = If (c) <
            then_branch = yes () => (float[2] p) { p = Add(t1, o0) },
            else_branch = no () => (float[2] i1) { i1 = Neg(t1) }
        >
    }"""
    model = canonical(text)
    region = find_regions(model).models[1]
    t = np.array([0.25, 0.75], np.float32)
    values = {"t1": t, "c": np.array(True)}
    names = [info.name for info in region.proto.graph.input]
    weights = {name: np.array([1, 2], np.float32) for name in region.weights}
    given = [*(values[name] for name in region.inputs), *weights.values()]
    (y,) = run(region.proto, dict(zip(names, given, strict=True)))
    np.testing.assert_array_equal(y, t + np.array([1, 2], np.float32))
