import numpy as np
import pytest
from onnx import numpy_helper

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 6, 6)


@pytest.fixture
def conv(quantised, n, draw):
    """A QDQ model of one Conv; ``w_scale=f`` changes the scales of its weights, and so on."""

    def make(**changed):
        constants = {"w": draw(4, 8, 3, 3), "b": draw(4)}
        model = quantised([n("Conv", "x w b", "y")], {"x": IMAGE}, constants)
        for initializer in model.graph.initializer:
            for ending, value in changed.items():
                operand, part = ending.split("_")
                if initializer.name.startswith(f"{operand}/") and initializer.name.endswith(part):
                    array = value(numpy_helper.to_array(initializer))
                    initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
        return model

    return make


def _with_zero_point(model, zero):
    for node in model.graph.node:
        if node.input[0].startswith("w/"):
            node.input.append("w/zero")
    model.graph.initializer.append(numpy_helper.from_array(zero, "w/zero"))
    return model


def test_uint8_weights_around_128_are_int8_weights(conv, compare):
    model = conv(w_numbers=lambda w: (w.astype(int) + 128).astype(np.uint8))
    zero = np.full(4, 128, np.uint8)
    assert compare(_with_zero_point(model, zero)).difference <= 1


@pytest.mark.parametrize("zero", [3, -7])
def test_weights_with_another_zero_point_are_refused(conv, compare, zero):
    with pytest.raises(Refused, match=f"zero point {zero}") as caught:
        compare(_with_zero_point(conv(), np.full(4, zero, np.int8)))
    assert caught.value.rule == "ethos-u.weights"


def test_weights_with_several_zero_points_are_refused(conv, compare):
    with pytest.raises(Refused, match="several zero points"):
        compare(_with_zero_point(conv(), np.array([0, 0, 1, 0], np.int8)))


def test_scales_along_another_axis_are_refused(conv, compare):
    model = conv(w_scale=lambda _: np.full(8, 0.01, np.float32))
    for node in model.graph.node:
        if node.input[0].startswith("w/"):
            node.attribute[0].i = 1
    with pytest.raises(Refused, match="along axis 1, not 0"):
        compare(model)


def test_weights_that_are_computed_are_refused(check, n):
    with pytest.raises(Refused) as caught:
        check([n("Conv", "x w", "y")], {"x": IMAGE, "w": (4, 8, 3, 3)})
    assert caught.value.rule == "ethos-u.weights"


def test_float_weights_are_refused(check, n, draw):
    with pytest.raises(Refused, match="not constant 8-bit"):
        check([n("Conv", "x w", "y")], {"x": IMAGE}, {"w": draw(4, 8, 3, 3)}, plain=["w"])


def test_a_bias_at_another_scale_is_brought_to_that_of_the_products(conv, compare):
    model = conv(b_scale=lambda scale: scale * 3, b_numbers=lambda b: (b // 3).astype(np.int32))
    assert compare(model).difference <= 1


def test_a_float_bias_is_rounded_to_the_scale_of_the_products(check, n, draw):
    constants = {"w": draw(4, 8, 3, 3), "b": draw(4)}
    assert check([n("Conv", "x w b", "y")], {"x": IMAGE}, constants, plain=["b"]).difference <= 1


def test_a_bias_beyond_32_bits_is_refused(conv, compare):
    with pytest.raises(Refused, match="beyond 32 bits") as caught:
        compare(conv(b_scale=lambda scale: scale * 1e9))
    assert caught.value.rule == "ethos-u.bias"


def test_a_computed_bias_is_refused(check, n, draw):
    with pytest.raises(Refused, match="computed as it runs"):
        check([n("Conv", "x w b", "y")], {"x": IMAGE, "b": (4,)}, {"w": draw(4, 8, 3, 3)})
