from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.compiler.frontend import load_model

RANDOM = np.random.default_rng(5)


def weights(channels: int, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A layer's weight ``w`` and bias ``c`` and the numbers of a normalisation of its output."""
    held = {name: RANDOM.standard_normal(channels) for name in "cbm"}
    held |= {name: RANDOM.random(channels) + 0.5 for name in "sv"}
    held["w"] = RANDOM.standard_normal(shape)
    return {name: array.astype(np.float32) for name, array in held.items()}


def assert_same(run, proto, model, tolerance: float = 1e-5) -> None:
    for a, b in zip(run(model.original), run(model.proto), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


CONV = """g (float[1,4,6,6] x) => (float[1,n,h,v1] y) {{
  a = Conv <group = {group}> (x, w, c) y = BatchNormalization <epsilon = 0.01> (a, s, b, m, v)
}}"""


@pytest.mark.parametrize("group", [1, 2, 4])
def test_a_normalisation_folds_into_the_convolution_before(build, operators, run, group):
    proto = build(CONV.format(group=group), weights(8, (8, 4 // group, 3, 3)))
    model = load_model(proto)
    assert operators(model) == ["Conv"]
    assert model.outputs[0].name == "y"
    assert_same(run, proto, model)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_a_normalisation_folds_into_the_transposed_convolution_before(build, operators, run, group):
    graph = CONV.format(group=group).replace("Conv", "ConvTranspose")
    proto = build(graph, weights(8, (4, 8 // group, 3, 3)))
    model = load_model(proto)
    assert operators(model) == ["ConvTranspose"]
    assert_same(run, proto, model)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_normalisation_folds_into_the_matrix_product_before(build, operators, run, transposed):
    proto = build(
        f"""g (float[2,4] x) => (float[2,8] y) {{
              a = Gemm <transB = {transposed}, alpha = 0.5, beta = 2.0> (x, w, c)
              y = BatchNormalization(a, s, b, m, v)
            }}""",
        weights(8, (8, 4) if transposed else (4, 8)),
    )
    model = load_model(proto)
    assert operators(model) == ["Gemm"]
    assert_same(run, proto, model)


def test_a_layer_without_a_bias_gets_one(build, operators, run):
    proto = build(CONV.format(group=1).replace(", c)", ")"), weights(8, (8, 4, 3, 3)))
    model = load_model(proto)
    assert operators(model) == ["Conv"]
    assert len(model.proto.graph.node[0].input) == 3
    assert_same(run, proto, model)


def test_a_chain_of_scales_and_shifts_folds_as_one(build, counts, operators, run):
    held = weights(8, (8, 4, 3, 3))
    held |= {"p": held["s"].reshape(8, 1, 1), "q": held["b"].reshape(1, 8, 1, 1)}
    proto = build(
        """g (float[1,4,6,6] x) => (float[1,n,h,v1] y) {
             a = Conv(x, w) n = BatchNormalization(a, s, b, m, v)
             d = Mul(p, n) e = Add(d, q) f = Sub(e, q) g = Div(f, p) y = Relu(g)
           }""",
        held,
    )
    model = load_model(proto)
    assert operators(model) == ["Conv", "Relu"]
    assert counts(model)["batch-norm"] == 5
    assert_same(run, proto, model)


def test_the_numbers_of_a_half_precision_layer_stay_half_precision(build, operators):
    held = {name: array.astype(np.float16) for name, array in weights(8, (8, 4, 3, 3)).items()}
    model = load_model(build(CONV.format(group=1).replace("float[", "float16["), held))
    assert operators(model) == ["Conv"]
    assert {t.data_type for t in model.proto.graph.initializer} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize(
    "graph",
    [
        "a = Conv(x, w) z = Relu(a) b1 = Mul(a, p) y = Add(b1, z)",  # read twice
        "a = Conv(x, w) r = Relu(a) y = Mul(r, p)",  # not the layer's own output
        "a = Conv(x, w) y = Mul(a, a)",  # no constant
        "a = Conv(x, w) y = Sub(p, a)",  # subtracts the layer
        "a = Conv(x, w) y = Div(p, a)",  # divides by the layer
        "a = Conv(x, w) y = Mul(a, i)",  # differs along an image axis
        "d = Mul(x, k) a = Conv(d, d) y = Mul(a, p)",  # the weight is computed
        "a = Conv(x, w, u) y = Mul(a, p)",  # the bias is an input
    ],
)
def test_what_is_no_scale_of_a_layer_stays(build, counts, graph):
    held = weights(4, (4, 4, 1, 1))
    held |= {"p": held["s"].reshape(4, 1, 1), "i": np.arange(6, dtype=np.float32), "k": held["w"]}
    proto = build(f"g (float[4,4,6,6] x, float[4] u) => (float[a,n,h,v1] y) {{ {graph} }}", held)
    if " d = " in f" {graph}":
        proto = build(f"g (float[4,4,1,1] x) => (float[a,n,h,v1] y) {{ {graph} }}", held)
    assert "batch-norm" not in counts(load_model(proto))


def test_a_layer_whose_output_the_model_returns_stays(build, operators):
    proto = build(
        """g (float[1,4,6,6] x) => (float[1,n,h,v1] y, float[1,n,h,v1] a) {
             a = Conv(x, w) y = BatchNormalization(a, s, b, m, v)
           }""",
        weights(8, (8, 4, 3, 3)),
    )
    assert operators(load_model(proto)) == ["Conv", "BatchNormalization"]


def test_a_normalisation_that_trains_stays(build, operators):
    proto = build(
        """g (float[1,4,6,6] x) => (float[1,n,h,v1] y) {
             a = Conv(x, w)
             y, p, q = BatchNormalization <training_mode = 1> (a, s, b, m, v)
           }""",
        weights(8, (8, 4, 3, 3)),
    )
    assert operators(load_model(proto)) == ["Conv", "BatchNormalization"]


def test_a_scale_that_overflows_the_weights_stays(build, operators):
    held = {name: array.astype(np.float16) for name, array in weights(4, (4, 4, 1, 1)).items()}
    held["w"] = np.full((4, 4, 1, 1), 60000, np.float16)
    held["p"] = np.full((4, 1, 1), 8, np.float16)
    graph = "g (float16[1,4,2,2] x) => (float16[1,4,2,2] y) { a = Conv(x, w) y = Mul(a, p) }"
    assert operators(load_model(build(graph, held))) == ["Conv", "Mul"]


def test_a_weight_used_by_two_layers_is_not_changed_for_the_other(build, run):
    proto = build(
        """g (float[1,4,6,6] x) => (float[1,n,h,v1] y, float[1,n2,h,v1] z) {
             a = Conv(x, w) y = BatchNormalization(a, s, b, m, v) z = Conv(x, w, c)
           }""",
        weights(8, (8, 4, 3, 3)),
    )
    assert_same(run, proto, load_model(proto))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_folding_never_changes_what_a_random_layer_computes(data):
    kind = data.draw(st.sampled_from(["Conv", "ConvTranspose"]))
    group = data.draw(st.sampled_from([1, 2, 4]))
    outputs, inputs = group * data.draw(st.integers(1, 3)), group * data.draw(st.integers(1, 3))
    seed = data.draw(st.integers(0, 1000))
    generator = np.random.default_rng(seed)
    shape = (outputs, inputs // group, 3, 3) if kind == "Conv" else (inputs, outputs // group, 3, 3)
    held = {"w": generator.standard_normal(shape), "c": generator.standard_normal(outputs)}
    held |= {"s": generator.standard_normal(outputs), "b": generator.standard_normal(outputs)}
    held |= {"m": generator.standard_normal(outputs), "v": generator.random(outputs) + 0.1}
    held["p"] = generator.standard_normal(data.draw(st.sampled_from([(1,), (outputs, 1, 1)])))
    tail = data.draw(
        st.lists(
            st.sampled_from(
                ["BatchNormalization({}, s, b, m, v)", "Mul({}, p)", "Add(p, {})", "Sub({}, p)"]
            ),
            min_size=1,
            max_size=3,
        )
    )
    bias = data.draw(st.sampled_from([", c", ""]))
    body = f"t0 = {kind} <group = {group}, pads = [1,1,1,1]> (x, w{bias}) "
    body += " ".join(f"t{i} = " + step.format(f"t{i - 1}") for i, step in enumerate(tail, 1))
    proto = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> '
        f"g (float[1,{inputs},5,5] x) => (float[1,{outputs},5,5] t{len(tail)}) {{ {body} }}"
    )
    for name, array in held.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    model = load_model(proto)
    assert model.warnings == ()
    assert [node.op_type for node in model.proto.graph.node] == [kind]
