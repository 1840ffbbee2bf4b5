from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.compiler.frontend import load_model


def conv(generator: np.random.Generator, outputs: int, inputs: int, zeros=(), unread=()):
    """A 3×3 weight with zero output channels ``zeros`` and input channels nobody reads."""
    weight = generator.standard_normal((outputs, inputs, 3, 3)).astype(np.float32)
    weight[list(zeros)] = 0
    weight[:, list(unread)] = 0
    return weight


def channels(model, node_type: str = "Conv") -> list[tuple[int, ...]]:
    """Weight shapes (first two axes) of the layers, in order."""
    held = {t.name: tuple(t.dims) for t in model.proto.graph.initializer}
    return [held[n.input[1]][:2] for n in model.proto.graph.node if n.op_type == node_type]


def assert_same(run, model) -> None:
    for a, b in zip(run(model.original), run(model.proto), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture
def held() -> dict[str, np.ndarray]:
    """Weights of two convolutions 3 → 6 → 4, channels 1 and 4 between them zero."""
    generator = np.random.default_rng(3)
    return {
        "w1": conv(generator, 6, 3, zeros=(1, 4)),
        "w2": conv(generator, 4, 6),
        "bz": np.where([1, 0, 1, 1, 0, 1], 0.5, 0).astype(np.float32),
        "b": np.full(6, 0.5, np.float32),
        "d": generator.standard_normal((6, 1, 3, 3)).astype(np.float32),
        "slope": generator.random((6, 1, 1)).astype(np.float32),
        "scale": generator.random((1, 6, 1, 1)).astype(np.float32),
        "zero": np.zeros((6, 1, 1), np.float32),
        "t": np.moveaxis(conv(generator, 4, 6), 0, 1).copy(),
        "one": np.ones(6, np.float32),
        "none": np.zeros(6, np.float32),
        "sizes": np.array([1, 1, 2, 2], np.float32),
        "min": np.array(-1, np.float32),
        "max": np.array(6, np.float32),
        "half": np.array(0.5, np.float32),
    }


def graph(path: str, last: str = "Conv(p, w2)", first: str = "Conv(x, w1)") -> str:
    return f"g (float[1,3,16,16] x) => (float[1,4,h,v] y) {{ a = {first} {path} y = {last} }}"


@pytest.mark.parametrize(
    "path",
    [
        "p = Relu(a)",
        "p = PRelu(a, slope)",
        "p = LeakyRelu(a)",
        "p = Mul(scale, a)",
        "p = Mul(a, half)",
        "p = Add(a, zero)",
        "p = Clip(a, min, max)",
        "p = MaxPool <kernel_shape = [2,2], pads = [1,1,1,1]> (a)",
        "p = AveragePool <kernel_shape = [2,2], pads = [1,1,1,1]> (a)",
        "p = Conv <group = 6> (a, d)",
        "p = Conv <group = 6> (a, d, bz)",
        'p = Resize <mode = "linear"> (a, "", sizes)',
        "r = Relu(a) p = BatchNormalization(r, one, none, none, one)",
        "r = Relu(a) s = Conv <group = 6> (r, d) p = Tanh(s)",
    ],
)
def test_zero_channels_go_through_operators_that_keep_zero(build, held, counts, run, path):
    model = load_model(build(graph(path), held))
    assert counts(model)["zero-channels"] == 2
    widths = channels(model)
    assert widths[0] == (4, 3)
    assert widths[-1] == (4, 4)
    assert model.warnings == ()
    assert_same(run, model)


@pytest.mark.parametrize(
    "path",
    [
        "p = Sigmoid(a)",
        "p = Add(a, scale)",
        "p = Clip(a, half, max)",
        "p = Conv <group = 6> (a, d, b)",
        "r = Relu(a) p = BatchNormalization(r, one, one, none, one)",
        "p = Softmax <axis = 1> (a)",
        "p = Transpose <perm = [0, 1, 3, 2]> (a)",
        "r = Relu(a) p = Add(r, a)",
    ],
)
def test_zero_channels_stay_where_they_become_another_number_or_are_mixed(
    build, held, counts, path
):
    assert "zero-channels" not in counts(load_model(build(graph(path), held)))


def test_a_bias_that_is_not_zero_keeps_the_channel(build, held, counts):
    model = load_model(build(graph("p = Relu(a)", first="Conv(x, w1, b)"), held))
    assert "zero-channels" not in counts(model)


def test_a_bias_is_cut_with_its_channels(build, held, counts, run):
    model = load_model(build(graph("p = Relu(a)", first="Conv(x, w1, bz)"), held))
    assert counts(model)["zero-channels"] == 2
    assert_same(run, model)


def test_zero_channels_between_transposed_convolutions_go(build, held, counts, run):
    held["u"] = np.moveaxis(held["w1"], 0, 1).copy()
    proto = build(graph("p = Relu(a)", "ConvTranspose(p, t)", "ConvTranspose(x, u)"), held)
    model = load_model(proto)
    assert counts(model)["zero-channels"] == 2
    assert channels(model, "ConvTranspose") == [(3, 4), (4, 4)]
    assert_same(run, model)


def test_channels_that_nobody_reads_go_whatever_becomes_of_them(build, held, counts, run):
    generator = np.random.default_rng(9)
    held |= {"w1": conv(generator, 6, 3), "w2": conv(generator, 4, 6, unread=(0, 5))}
    model = load_model(build(graph("r = Add(a, scale) p = Sigmoid(r)"), held))
    assert counts(model)["zero-channels"] == 2
    assert_same(run, model)


def test_a_channel_goes_only_if_every_reader_can_do_without_it(build, held, counts, run):
    generator = np.random.default_rng(9)
    held |= {
        "w1": conv(generator, 6, 3),
        "w2": conv(generator, 4, 6, unread=(0, 5)),
        "w3": conv(generator, 4, 6, unread=(5,)),
    }
    text = """g (float[1,3,16,16] x) => (float[1,4,h,v] y, float[1,4,h,v] z) {
                a = Conv(x, w1) y = Conv(a, w2) p = Relu(a) z = Conv(p, w3) }"""
    model = load_model(build(text, held))
    assert counts(model)["zero-channels"] == 1
    assert channels(model) == [(5, 3), (4, 5), (4, 5)]
    assert_same(run, model)


def test_channels_cut_in_one_layer_make_channels_of_the_layer_before_unread(
    build, held, counts, run
):
    generator = np.random.default_rng(9)
    middle = conv(generator, 6, 6)
    middle[:, 2] = 0
    middle[3, 2] = 1  # only channel 3 reads channel 2, and nobody reads channel 3
    held |= {"w1": conv(generator, 6, 3), "wm": middle, "w2": conv(generator, 4, 6, unread=(3,))}
    model = load_model(build(graph("m = Relu(a) p = Conv(m, wm)"), held))
    assert counts(model)["zero-channels"] == 2
    assert channels(model) == [(5, 3), (5, 5), (4, 5)]
    assert_same(run, model)


def test_a_channel_that_the_model_returns_stays(build, held, counts):
    text = """g (float[1,3,16,16] x) => (float[1,4,h,v] y, float[1,6,h,v] a) {
                a = Conv(x, w1) y = Conv(a, w2) }"""
    assert "zero-channels" not in counts(load_model(build(text, held)))


def test_one_channel_stays_when_all_are_zero(build, held, run):
    held["w1"][:] = 0
    model = load_model(build(graph("p = Relu(a)"), held))
    assert channels(model) == [(1, 3), (4, 1)]
    assert_same(run, model)


def test_a_zero_channel_read_with_an_infinite_weight_stays(build, held, counts):
    held["w2"][0, 1, 0, 0] = np.inf
    model = load_model(build(graph("p = Relu(a)"), held))
    assert counts(model)["zero-channels"] == 1
    assert any("infinite" in warning for warning in model.warnings)


def test_a_weight_shared_with_another_layer_is_cut_only_where_it_may_be(build, held, run):
    text = """g (float[1,3,16,16] x) => (float[1,4,h,v] y, float[1,6,h,v] z) {
                a = Conv(x, w1) y = Conv(a, w2) n = Neg(x) z = Conv(n, w1) }"""
    model = load_model(build(text, held))
    assert channels(model) == [(4, 3), (4, 4), (6, 3)]
    assert_same(run, model)


def test_skipping_the_rewrite_keeps_the_channels(build, held, counts):
    model = load_model(build(graph("p = Relu(a)"), held), skip=["zero-channels"])
    assert channels(model) == [(6, 3), (4, 6)]


STEPS = [
    "Relu({})",
    "Sigmoid({})",
    "PRelu({}, slope)",
    "Add({}, shift)",
    "Mul(shift, {})",
    "Tanh({})",
    "Conv <group = {width}, pads = [1,1,1,1]> ({}, d)",
    "Conv <group = {width}, pads = [1,1,1,1]> ({}, d, bias)",
    "MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> ({})",
    "BatchNormalization({}, bias, bias, bias, one)",
    "Softmax <axis = 1> ({})",
]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_removal_never_changes_what_a_random_network_computes(data):
    width = data.draw(st.integers(2, 6))
    generator = np.random.default_rng(data.draw(st.integers(0, 1000)))
    some = st.lists(st.integers(0, width - 1), max_size=width)
    bias = generator.standard_normal(width) * (generator.random(width) > 0.5)
    held = {
        "w1": conv(generator, width, 2, zeros=data.draw(some)),
        "w2": conv(generator, 3, width, unread=data.draw(some)),
        "w3": conv(generator, 3, width, unread=data.draw(some)),
        "d": generator.standard_normal((width, 1, 3, 3)),
        "bias": bias,
        "shift": bias.reshape(width, 1, 1),
        "slope": generator.random((width, 1, 1)),
        "one": np.ones(width),
    }
    steps = data.draw(st.lists(st.sampled_from(STEPS), max_size=3))
    first = data.draw(st.sampled_from(["Conv(x, w1)", "Conv(x, w1, bias)"]))
    body = f"t0 = {first} " + " ".join(
        f"t{i} = {step.format(f't{i - 1}', width=width)}" for i, step in enumerate(steps, 1)
    )
    end, middle = f"t{len(steps)}", f"t{data.draw(st.integers(0, len(steps)))}"
    body += f" y = Conv({end}, w2) z = Conv({middle}, w3)"
    proto = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[1,2,7,7] x) => '
        f"(float[1,3,3,3] y, float[1,3,3,3] z) {{ {body} }}"
    )
    for name, array in held.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    model = load_model(proto)  # compares the canonical model with the original itself
    assert model.warnings == ()
    assert [info.name for info in model.proto.graph.output] == ["y", "z"]
