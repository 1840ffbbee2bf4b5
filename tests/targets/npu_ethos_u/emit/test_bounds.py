import math

import pytest

from edgeweave.targets.npu_ethos_u.emit.bounds import fused_activation, numbers_within, reach
from edgeweave.targets.npu_ethos_u.emit.quantized import Operator, Quantisation, Value


def operator(scale, zero_point, bounds):
    value = Value("y", (1,), Quantisation(scale, zero_point))
    return Operator("Conv", "c", (), value, bounds=bounds)


CASES = [
    ((0.0, math.inf), (0.1, -128), "NONE"),  # the scale ends there by itself
    ((0.0, math.inf), (0.1, 5), "RELU"),
    ((0.0, 6.0), (0.1, 5), "RELU6"),
    ((0.0, 6.0), (6 / 255, -128), "NONE"),
    ((-1.0, 1.0), (0.1, 5), "RELU_N1_TO_1"),
    ((0.0, 100.0), (0.1, 5), "RELU"),
    (None, (0.1, 5), "NONE"),
]


@pytest.mark.parametrize(("bounds", "quantisation", "activation"), CASES)
def test_an_activation_keeps_the_bounds_exactly(bounds, quantisation, activation):
    made = operator(*quantisation, bounds)
    assert fused_activation(made) == activation
    assert reach(activation, Quantisation(*quantisation)) == numbers_within(made)


def test_bounds_of_no_activation_are_left_to_operators_of_their_own():
    made = operator(0.1, 5, (-0.3, 2.0))
    assert fused_activation(made) == "NONE"
    assert numbers_within(made) == (2, 25)
