import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 14, 18)
SAME = {"pads": [1] * 4}
CONVOLUTIONS = {
    "same": ((12, 8, 3, 3), SAME, ["CONV_2D"]),
    "valid": ((12, 8, 3, 3), {}, ["CONV_2D"]),
    "1x1": ((12, 8, 1, 1), {}, ["CONV_2D"]),
    "stride 2, padded on both sides": (
        (12, 8, 3, 3),
        {**SAME, "strides": [2, 2]},
        ["PAD", "CONV_2D"],
    ),
    "stride 2, padded at the end": (
        (12, 8, 3, 3),
        {"pads": [0, 0, 1, 1], "strides": [2, 2]},
        ["CONV_2D"],
    ),
    "unequal pads": ((12, 8, 3, 5), {"pads": [2, 1, 0, 3]}, ["PAD", "CONV_2D"]),
    "dilated": ((12, 8, 3, 3), {"pads": [2, 3, 2, 3], "dilations": [2, 3]}, ["CONV_2D"]),
    "unequal strides": ((12, 8, 3, 3), {"strides": [1, 2]}, ["CONV_2D"]),
    "stride 4": ((12, 8, 4, 4), {"strides": [4, 4]}, ["CONV_2D"]),
    "SAME_UPPER": ((12, 8, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, ["CONV_2D"]),
    "SAME_LOWER": (
        (12, 8, 3, 3),
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        ["PAD", "CONV_2D"],
    ),
    "auto_pad VALID": ((12, 8, 3, 3), {"auto_pad": "VALID"}, ["CONV_2D"]),
    "depthwise": ((8, 1, 3, 3), {**SAME, "group": 8}, ["DEPTHWISE_CONV_2D"]),
    "depthwise, stride 2": (
        (8, 1, 3, 3),
        {**SAME, "group": 8, "strides": [2, 2]},
        ["PAD", "DEPTHWISE_CONV_2D"],
    ),
    "depthwise, two per channel": ((16, 1, 3, 3), {**SAME, "group": 8}, ["DEPTHWISE_CONV_2D"]),
    "two groups": (
        (12, 4, 3, 3),
        {**SAME, "group": 2},
        ["SLICE", "CONV_2D", "SLICE", "CONV_2D", "CONCATENATION"],
    ),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv(check, n, draw, case):
    shape, attributes, codes = CONVOLUTIONS[case]
    constants = {"w": draw(*shape), "b": draw(shape[0])}
    outcome = check([n("Conv", "x w b", "y", **attributes)], {"x": IMAGE}, constants)
    assert outcome.difference <= 1
    assert outcome.codes == codes


def test_conv_of_one_dimension_is_an_image_of_height_1(check, n, draw):
    constants = {"w": draw(12, 8, 3), "b": draw(12)}
    nodes = [n("Conv", "x w b", "y", pads=[1, 1], strides=[2])]
    outcome = check(nodes, {"x": (1, 8, 20)}, constants)
    assert outcome.difference <= 1
    assert "CONV_2D" in outcome.codes


def test_conv_without_a_bias_and_with_a_batch(check, n, draw):
    nodes = [n("Conv", "x w", "y", **SAME)]
    assert check(nodes, {"x": (2, 8, 9, 7)}, {"w": draw(12, 8, 3, 3)}).difference <= 1


def test_one_scale_for_all_weights_serves_every_channel(quantised, compare, n, draw):
    model = quantised([n("Conv", "x w", "y")], {"x": IMAGE}, {"w": draw(4, 8, 3, 3)})
    for initializer in model.graph.initializer:
        if initializer.name.startswith("w/") and initializer.name.endswith("scale"):
            initializer.CopyFrom(_array(np.float32(0.02), initializer.name))
    for node in model.graph.node:
        if node.input[0].startswith("w/"):
            del node.attribute[:]
    assert compare(model).difference <= 1


def _array(value, name):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(value), name)


TAILS = {
    "Relu": ([("Relu", "")], {}),
    "Clip to 0 and 6": ([("Clip", " low high")], {"low": 0.0, "high": 6.0}),
    "Clip to -1 and 1": ([("Clip", " low high")], {"low": -1.0, "high": 1.0}),
    "Clip to other bounds": ([("Clip", " low high")], {"low": -0.3, "high": 1.3}),
    "Clip with one bound": ([("Clip", " - high")], {"high": 1.3}),
    "Relu, then Clip": ([("Relu", ""), ("Clip", " - high")], {"high": 1.3}),
}


@pytest.mark.parametrize("weights", [(12, 8, 3, 3), (8, 1, 3, 3)])
@pytest.mark.parametrize("tail", TAILS)
def test_relu_and_clip_belong_to_the_conv_before_them(check, n, draw, tail, weights):
    kinds, bounds = TAILS[tail]
    group = IMAGE[1] // weights[1]
    nodes = [n("Conv", "x w", "v0", group=group, **SAME)]
    for place, (kind, ends) in enumerate(kinds):
        result = "y" if place == len(kinds) - 1 else f"v{place + 1}"
        nodes.append(n(kind, f"v{place}{ends}", result))
    constants = {key: np.float32(value) for key, value in bounds.items()}
    outcome = check(nodes, {"x": IMAGE}, {"w": draw(*weights), **constants})
    assert outcome.difference <= 1
    assert len(outcome.codes) == 1  # scales that fit the bounds need no operator of their own


def test_bounds_inside_of_the_scale_s_range_are_kept(quantised, compare, n, draw):
    nodes = [n("Conv", "x w", "v"), n("Clip", "v low high", "y")]
    bounds = {"low": np.float32(-1.5), "high": np.float32(2.5)}
    model = quantised(nodes, {"x": IMAGE}, {"w": draw(4, 8, 3, 3), **bounds})
    for initializer in model.graph.initializer:
        if initializer.name == "y/scale":
            initializer.CopyFrom(_array(np.float32(0.05), "y/scale"))
        if initializer.name == "y/zero":
            initializer.CopyFrom(_array(np.int8(3), "y/zero"))
    outcome = compare(model)
    assert outcome.difference <= 1
    assert outcome.codes == ["CONV_2D", "MAXIMUM", "MINIMUM"]


TRANSPOSED = {
    "kernel 2, stride 2": (2, {"strides": [2, 2]}, 1),
    "kernel 4, stride 2, pads 1": (4, {"strides": [2, 2], "pads": [1] * 4}, 1),
    "kernel 3, stride 2": (3, {"strides": [2, 2]}, 1),
    "kernel 3, pads 1": (3, {"pads": [1] * 4}, 1),
    "kernel 3, stride 2, pads 1, output 1": (
        3,
        {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
        2,
    ),
    "output beyond the kernel": (3, {"strides": [2, 2], "output_padding": [1, 1]}, 1),
    "kernel 1, stride 2": (1, {"strides": [2, 2]}, 2),
    "dilated": (3, {"strides": [2, 2], "dilations": [2, 3]}, 1),
    "SAME_UPPER": (3, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 1),
    "SAME_LOWER": (3, {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, 2),
    "output_shape": (3, {"strides": [2, 2], "output_shape": [27, 36]}, 2),
}


@pytest.mark.parametrize("case", TRANSPOSED)
def test_conv_transpose(check, n, draw, case):
    kernel, attributes, operators = TRANSPOSED[case]
    constants = {"w": draw(8, 6, kernel, kernel), "b": draw(6)}
    outcome = check([n("ConvTranspose", "x w b", "y", **attributes)], {"x": IMAGE}, constants)
    assert outcome.difference <= 1
    assert outcome.codes == ["TRANSPOSE_CONV", "SLICE"][:operators]


@pytest.mark.parametrize("group", [2, 8])
def test_conv_transpose_of_groups_is_dense(check, n, draw, group):
    nodes = [n("ConvTranspose", "x w", "y", strides=[2, 2], group=group)]
    outcome = check(nodes, {"x": IMAGE}, {"w": draw(8, 3, 2, 2)})
    assert outcome.difference <= 1
    assert outcome.codes == ["TRANSPOSE_CONV"]


REFUSED = {
    "stride 4 with pads": ("Conv", (4, 8, 4, 4), {"strides": [4, 4], **SAME}, "convolution"),
    "stride 4 with pads at the end": (
        "Conv",
        (4, 8, 4, 4),
        {"strides": [4, 4], "pads": [0, 0, 1, 1]},
        "convolution",
    ),
    "stride 4, dilated": (
        "Conv",
        (4, 8, 2, 2),
        {"strides": [4, 1], "dilations": [1, 2]},
        "convolution",
    ),
    "depthwise stride 4": ("Conv", (8, 1, 4, 4), {"strides": [4, 4], "group": 8}, "convolution"),
    "transposed stride 3": (
        "ConvTranspose",
        (8, 4, 3, 3),
        {"strides": [3, 3]},
        "transposed-convolution",
    ),
    "transposed unequal strides": (
        "ConvTranspose",
        (8, 4, 3, 3),
        {"strides": [2, 1]},
        "transposed-convolution",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(check, n, draw, case):
    kind, shape, attributes, rule = REFUSED[case]
    with pytest.raises(Refused) as caught:
        check([n(kind, "x w", "y", **attributes)], {"x": IMAGE}, {"w": draw(*shape)})
    assert caught.value.rule == f"ethos-u.{rule}"


def test_an_output_that_starts_before_the_kernel_s_reach_is_refused(quantised, compare, n, draw):
    nodes = [n("ConvTranspose", "x w", "y", output_shape=[29, 37], strides=[2, 2])]
    model = quantised(nodes, {"x": IMAGE}, {"w": draw(8, 4, 3, 3)})
    (conv,) = (node for node in model.graph.node if node.op_type == "ConvTranspose")
    (shape,) = (a for a in conv.attribute if a.name == "output_shape")
    shape.ints[:] = [33, 40]  # which ONNX Runtime would not run
    with pytest.raises(Refused, match="pads its output before"):
        compare(model)


def test_three_dimensions_are_refused(check, n, draw):
    with pytest.raises(Refused, match="3 spatial dimensions"):
        check([n("Conv", "x w", "y")], {"x": (1, 2, 4, 4, 4)}, {"w": draw(2, 2, 3, 3, 3)})


def test_one_dimension_transposed_is_refused(check, n, draw):
    with pytest.raises(Refused, match="not two-dimensional"):
        check([n("ConvTranspose", "x w", "y")], {"x": (1, 2, 9)}, {"w": draw(2, 2, 3)})
