import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 10, 12)
FUNCTIONS = {
    "LeakyRelu": ({"alpha": 0.1}, ["LEAKY_RELU"]),
    "HardSwish": ({}, ["HARD_SWISH"]),
    "HardSigmoid": ({"alpha": 1 / 6, "beta": 0.5}, None),
    "Sigmoid": ({}, ["LOGISTIC", "QUANTIZE"]),
    "Tanh": ({}, ["TANH", "QUANTIZE"]),
    "Exp": ({}, ["EXP"]),
    "Relu": ({}, ["QUANTIZE"]),
}


@pytest.mark.parametrize("spread", [0.3, 3.0])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_of_one_value(check, n, kind, spread):
    attributes, codes = FUNCTIONS[kind]
    outcome = check([n(kind, "x", "y", **attributes)], {"x": IMAGE}, spread=spread)
    assert outcome.difference <= 1
    assert codes is None or outcome.codes == codes


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 5, 7), (2, 3, 5, 7)])
@pytest.mark.parametrize("kind", ["HardSigmoid", "Sigmoid"])
def test_functions_of_any_rank(check, n, kind, shape):
    assert check([n(kind, "x", "y")], {"x": shape}).difference <= 1


def test_a_function_of_a_constant_is_refused(check, n, draw):
    nodes = [n("Exp", "c", "v"), n("Add", "x v", "y")]
    with pytest.raises(Refused, match="reads no quantised value"):
        check(nodes, {"x": IMAGE}, {"c": draw(12)})


def test_a_falling_hard_sigmoid_is_refused(check, n):
    with pytest.raises(Refused, match="slope"):
        check([n("HardSigmoid", "x", "y", alpha=-0.2)], {"x": (5, 7)})


CLIPS = {
    "0 to 6": (0.0, 6.0),
    "-1 to 1": (-1.0, 1.0),
    "one side": (-1.5, np.inf),
    "crossed": (1.0, -1.0),
}


@pytest.mark.parametrize("case", CLIPS)
def test_clip_of_a_quantised_value(check, n, case):
    low, high = (np.float32(end) for end in CLIPS[case])
    nodes = [n("Clip", "x low high", "y")]
    outcome = check(nodes, {"x": IMAGE}, {"low": low, "high": high})
    assert outcome.difference <= 1


@pytest.mark.parametrize("kind", ["Relu", "Clip"])
def test_a_bound_inside_of_the_result_s_range_is_kept(quantised, compare, n, kind):
    model = quantised(
        [n(kind, "x" if kind == "Relu" else "x low high", "y")],
        {"x": IMAGE},
        *[{} if kind == "Relu" else {"low": np.float32(0), "high": np.float32(6)}],
    )
    values = {i.name: i for i in model.graph.initializer}
    for part in ("scale", "zero"):
        values[f"y/{part}"].raw_data = values[f"x/{part}"].raw_data
    outcome = compare(model)
    assert outcome.difference == 0
    assert outcome.codes == ["RELU" if kind == "Relu" else "RELU6"]


def test_hard_swish_to_far_finer_steps_is_refused(quantised, compare, n):
    model = quantised([n("HardSwish", "x", "y")], {"x": (5, 7)})
    values = {i.name: i for i in model.graph.initializer}
    values["x/scale"].raw_data = np.float32(1.28).tobytes()
    values["y/scale"].raw_data = np.float32(0.01).tobytes()
    with pytest.raises(Refused, match="too fine") as caught:
        compare(model)
    assert caught.value.rule == "ethos-u.fine-scale"


def test_a_computed_bound_is_refused(check, n):
    with pytest.raises(Refused, match="a bound of Clip"):
        check([n("Clip", "x - z", "y")], {"x": (5, 7), "z": (1,)})


SLOPES = {
    "mixed": lambda slopes: slopes,
    "positive": lambda slopes: np.abs(slopes) * 0.3,
    "negative": lambda slopes: -np.abs(slopes),
    "zero": lambda slopes: slopes * 0,
}


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("case", SLOPES)
def test_prelu(check, n, draw, case, plain):
    slopes = SLOPES[case](draw(8, 1, 1))
    how = {"plain": ["slopes"]} if plain else {}
    outcome = check([n("PRelu", "x slopes", "y")], {"x": IMAGE}, {"slopes": slopes}, **how)
    assert outcome.difference <= 1
    assert outcome.codes == ["PRELU"]


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_softmax_over_any_axis(check, n, axis):
    outcome = check([n("Softmax", "x", "y", axis=axis)], {"x": IMAGE})
    assert outcome.difference <= 1
    # the channels lie last already
    assert ("TRANSPOSE" in outcome.codes) == (axis != 1)


@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_of_old_operator_sets_over_the_last_axis(check, n, opset):
    outcome = check([n("Softmax", "x", "y", axis=1)], {"x": (6, 9)}, opset=opset)
    assert outcome.difference <= 1


def test_softmax_of_old_operator_sets_over_several_axes_is_refused(check, n):
    with pytest.raises(Refused, match="over several axes"):
        check([n("Softmax", "x", "y", axis=1)], {"x": (2, 6, 9)}, opset=11)


def test_softmax_over_more_than_511_places_is_refused(check, n):
    with pytest.raises(Refused, match="512 places") as caught:
        check([n("Softmax", "x", "y")], {"x": (1, 512)})
    assert caught.value.rule == "ethos-u.softmax"


def test_softmax_over_511_equal_places_does_not_abort(quantised, compare, n):
    # LiteRT's reference kernel ends the process where the sum is too large
    model = quantised([n("Softmax", "x", "y")], {"x": (1, 511)}, spread=30.0)
    for initializer in model.graph.initializer:
        if initializer.name == "x/scale":
            initializer.raw_data = np.float32(1e-6).tobytes()
    assert compare(model).difference <= 1


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Softmax"])
def test_steps_far_finer_than_tflite_s_are_refused(quantised, compare, n, kind):
    model = quantised([n(kind, "x", "y")], {"x": (1, 9)})
    for initializer in model.graph.initializer:
        if initializer.name == "y/scale":
            initializer.raw_data = np.float32(0.001).tobytes()
    with pytest.raises(Refused, match="in steps of") as caught:
        compare(model)
    assert caught.value.rule == "ethos-u.fine-scale"
