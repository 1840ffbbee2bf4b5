"""Which nodes compute in int8."""

from __future__ import annotations

from collections.abc import Callable

from edgeweave.compiler.graph import view_graph
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.select import select_nodes

Canonical = Callable[[str], Model]
WEIGHTS = "float[4,4,1,1] w = {" + ", ".join(["0.5"] * 16) + "}"


def chosen(model: Model, *keep_float: str) -> set[str]:
    view = view_graph(model.proto)
    for node in view.nodes:
        node.name = node.output[0]
    return {view.nodes[p].name for p in select_nodes(view, keep_float)}


def test_what_stands_next_to_layers_goes_with_them(canonical: Canonical) -> None:
    model = canonical(
        f"""
        g (float[1,4,8,8] x) => (float[1,64] y, float[1,4,8,8] z) <{WEIGHTS}> {{
            pads = Constant<value = int64[8] {{0,0,1,1,0,0,1,1}}>()
            shape = Constant<value = int64[2] {{1, 64}}>()
            a = Pad(x, pads) b = MaxPool<kernel_shape=[3,3]>(a) c = Conv(b, w)
            d = Sigmoid(c) e = Mul(c, d) f = AveragePool<kernel_shape=[2,2], strides=[2,2]>(e)
            y = Reshape(f, shape)
            z = Relu(x)
        }}
        """
    )
    assert chosen(model) == {"a", "b", "c", "d", "e", "f", "y"} | {"z"}


def test_a_model_without_layers_has_nothing_to_quantise(canonical: Canonical) -> None:
    model = canonical("g (float[1,4] x) => (float[1,4] y) { a = Relu(x) y = Add(a, a) }")
    assert chosen(model) == set()


def test_layers_whose_weights_are_computed_stay_float(canonical: Canonical) -> None:
    model = canonical(
        "g (float[1,4,8,8] x, float[4,4,1,1] k) => (float[1,4,8,8] y) { y = Conv(x, k) }"
    )
    assert chosen(model) == set()


def test_the_decoding_of_boxes_stays_float(canonical: Canonical) -> None:
    model = canonical(
        f"""
        g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] s)
        <{WEIGHTS}, float[1] half = {{0.5}}> {{
            a = Conv(x, w) b = Transpose<perm=[0,2,3,1]>(a) c = Mul(b, half) d = Exp(c)
            e = Add(d, half) y = Transpose<perm=[0,3,1,2]>(e)
            f = Conv(x, w) s = Softmax<axis=1>(f)
        }}
        """
    )
    assert chosen(model) == {"a", "b", "f", "s"}


def test_arithmetic_before_a_layer_is_quantised_whatever_follows(canonical: Canonical) -> None:
    model = canonical(
        f"""
        g (float[1,4,8,8] x) => (float[1,4,8,8] y) <{WEIGHTS}, float[1] half = {{0.5}}> {{
            a = Conv(x, w) b = Mul(a, half) c = Exp(b) d = Conv(c, w) y = Add(d, x)
        }}
        """
    )
    assert chosen(model) == {"a", "b", "d", "y"}


def test_clips_keep_their_bounds(canonical: Canonical) -> None:
    model = canonical(
        f"""
        g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z)
        <{WEIGHTS}, float zero = {{0}}, float one = {{1}}, float six = {{6}}> {{
            a = Conv(x, w) y = Clip(a, zero, six) b = Conv(x, w) z = Clip(b, one, six)
        }}
        """
    )
    assert chosen(model) == {"a", "y", "b"}


def test_nodes_can_be_kept_in_float(canonical: Canonical) -> None:
    model = canonical(
        f"""
        g (float[1,4,8,8] x) => (float[1,4,8,8] y) <{WEIGHTS}> {{
            a = Conv(x, w) b = Relu(a) c = Conv(b, w) y = Relu(c)
        }}
        """
    )
    assert chosen(model, "c", "y") == {"a", "b"}
    assert chosen(model, "a", "b", "c", "y") == set()
