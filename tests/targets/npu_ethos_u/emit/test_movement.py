import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 10, 12)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_concat(check, n, axis, keep):
    other = list(IMAGE)
    other[axis] = 5
    outcome = check([n("Concat", "x z", "y", axis=axis)], {"x": IMAGE, "z": other}, keep=keep)
    assert outcome.difference <= 1
    assert outcome.codes[-1] == "CONCATENATION"


def test_a_part_at_another_scale_is_requantised_and_a_constant_is_so_at_once(check, n, draw):
    constants = {"c": draw(1, 3, 10, 12)}
    outcome = check([n("Concat", "x c", "y", axis=1)], {"x": IMAGE}, constants)
    assert outcome.difference <= 1
    assert outcome.codes.count("QUANTIZE") <= 1


def test_concat_of_constants_only_is_refused(check, n, draw):
    nodes = [n("Concat", "a b", "c", axis=0), n("Add", "x c", "y")]
    with pytest.raises(Refused, match="constants only"):
        check(nodes, {"x": (3, 10)}, {"a": draw(5), "b": draw(5)})


SPLITS = {
    "equal": ("x", {"axis": 1, "num_outputs": 2}, {}, "a b"),
    "the last is smaller": ("x", {"axis": 2, "num_outputs": 4}, {}, "a b c d"),
    "sizes": ("x sizes", {"axis": 1}, {"sizes": np.array([1, 5, 2])}, "a b c"),
}


@pytest.mark.parametrize("case", SPLITS)
def test_split(check, n, case):
    inputs, attributes, constants, outputs = SPLITS[case]
    nodes = [n("Split", inputs, outputs, **attributes)]
    outcome = check(nodes, {"x": IMAGE}, constants, outputs.split())
    assert outcome.difference <= 1
    assert outcome.codes.count("SLICE") == len(outputs.split())


def test_split_of_old_operator_sets(check, n):
    nodes = [n("Split", "x", "a b", axis=1, split=[3, 5])]
    assert check(nodes, {"x": IMAGE}, outputs=("a", "b"), opset=11).difference <= 1


SLICES = {
    "channels": ([2], [6], [1], [1]),
    "height and width": ([2, 3], [-1, 1000], [2, 3], [1, 1]),
    "steps": ([1, 0], [10, 12], [2, 3], [2, 3]),
    "steps over channels": ([0], [8], [1], [2]),
    "steps, and fewer channels": ([3, 2], [7, 11], [1, 3], [1, 4]),
    "steps over channels and width": ([1, 2], [8, 11], [1, 3], [3, 2]),
    "negative start": ([-4], [-1], [-1], [1]),
}


@pytest.mark.parametrize("case", SLICES)
def test_slice(check, n, case):
    names = ("starts", "ends", "axes", "steps")
    constants = {k: np.array(v) for k, v in zip(names, SLICES[case], strict=True)}
    outcome = check(
        [n("Slice", "x starts ends axes steps", "y")], {"x": IMAGE}, constants, keep=True
    )
    assert outcome.difference == 0


def test_slice_without_axes(check, n):
    constants = {"starts": np.array([0, 1]), "ends": np.array([1, 3])}
    assert check([n("Slice", "x starts ends", "y")], {"x": IMAGE}, constants).difference <= 1


def test_negative_steps_are_refused(check, n):
    constants = {"starts": [-1], "ends": [-9], "axes": [1], "steps": [-1]}
    with pytest.raises(Refused) as caught:
        check(
            [n("Slice", "x starts ends axes steps", "y")],
            {"x": IMAGE},
            {key: np.array(value) for key, value in constants.items()},
        )
    assert caught.value.rule == "ethos-u.slice"


@pytest.mark.parametrize("fill", [0.0, 1.5, -100.0, -np.inf])
@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 3, 0], [0, 2, 0, 0, 0, 3, 0, 0]])
def test_pad_with_any_number(quantised, compare, n, fill, pads):
    constants = {"pads": np.array(pads), "fill": np.float32(max(fill, -100))}
    model = quantised([n("Pad", "x pads fill", "y")], {"x": IMAGE}, constants)
    for initializer in model.graph.initializer:
        if initializer.name == "fill":
            initializer.raw_data = np.float32(fill).tobytes()
    assert compare(model).difference <= 1


def test_pad_of_some_axes(check, n):
    constants = {"pads": np.array([1, 2]), "axes": np.array([-1])}
    assert check([n("Pad", "x pads - axes", "y")], {"x": IMAGE}, constants).difference <= 1


def test_a_computed_fill_is_refused(check, n):
    pads = {"pads": np.array([0, 0, 1, 0] * 2)}
    with pytest.raises(Refused, match="computes z/q as it runs") as caught:
        check([n("Pad", "x pads z", "y")], {"x": IMAGE, "z": (1,)}, pads)
    assert caught.value.rule == "ethos-u.constant"


def test_pad_reflected(check, n):
    nodes = [n("Pad", "x pads", "y", mode="reflect")]
    constants = {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}
    outcome = check(nodes, {"x": IMAGE}, constants)
    assert outcome.difference <= 1
    assert outcome.codes[0] == "MIRROR_PAD"


@pytest.mark.parametrize(("mode", "row"), [("edge", 1), ("constant", -1)])
def test_other_pads_are_refused(check, n, mode, row):
    pads = {"pads": np.array([0, 0, row, 0] * 2)}
    with pytest.raises(Refused) as caught:
        check([n("Pad", "x pads", "y", mode=mode)], {"x": IMAGE}, pads)
    assert caught.value.rule == "ethos-u.pad"


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (3, 2, 1, 0)])
def test_transpose_costs_no_transposition(check, n, order):
    outcome = check([n("Transpose", "x", "y", perm=order)], {"x": IMAGE}, keep=True)
    assert outcome.difference == 0
    assert outcome.codes == ["QUANTIZE"]  # a copy, since one tensor cannot be taken and given


def test_transpose_without_an_order_reverses_the_axes(check, n):
    assert check([n("Transpose", "x", "y")], {"x": (3, 5, 7)}, keep=True).difference == 0


def test_detection_heads_need_no_transposition(check, n, draw):
    nodes = [
        n("Conv", "x w", "v"),
        n("Transpose", "v", "t", perm=[0, 2, 3, 1]),
        n("Reshape", "t shape", "y"),
    ]
    constants = {"w": draw(6, 8, 1, 1), "shape": np.array([1, -1, 2])}
    outcome = check(nodes, {"x": IMAGE}, constants, keep=True)
    assert outcome.difference <= 1
    assert outcome.codes == ["CONV_2D", "RESHAPE"]


RESHAPES = {
    "row": ((1, 960), True),
    "height and width": ((1, 8, 120), False),
    "split channels": ((1, 2, 4, 10, 12), False),
    "without the batch": ((8, 10, 12), False),
    "mixed": ((1, 10, 8, 12), True),
}


@pytest.mark.parametrize("case", RESHAPES)
def test_reshape_transposes_only_where_it_must(check, n, case):
    shape, transposed = RESHAPES[case]
    outcome = check([n("Reshape", "x s", "y")], {"x": IMAGE}, {"s": np.array(shape)}, keep=True)
    assert outcome.difference == 0
    assert ("TRANSPOSE" in outcome.codes) == transposed


def test_channel_shuffle(check, n):
    nodes = [
        n("Reshape", "x one", "a"),
        n("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
        n("Reshape", "b two", "y"),
    ]
    constants = {"one": np.array([1, 2, 4, 10, 12]), "two": np.array(IMAGE)}
    outcome = check(nodes, {"x": IMAGE}, constants, keep=True)
    assert outcome.difference == 0
    assert outcome.codes.count("TRANSPOSE") == 1


RENAMED = {
    "Flatten": ("x", (1, 8, 1, 1), {}),
    "Squeeze": ("x axes", (1, 8, 1, 1), {"axes": np.array([2, 3])}),
    "Unsqueeze": ("x axes", (1, 8), {"axes": np.array([2, 3])}),
    "Identity": ("x", IMAGE, {}),
}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kind", RENAMED)
def test_the_same_numbers_under_another_shape(check, n, kind, keep):
    inputs, shape, constants = RENAMED[kind]
    assert check([n(kind, inputs, "y")], {"x": shape}, constants, keep=keep).difference <= 1


@pytest.mark.parametrize("shape", [(1, 8, 20), (2, 3, 8, 20), (1, 8, 1)])
def test_expand(check, n, shape):
    outcome = check([n("Expand", "x s", "y")], {"x": (1, 8, 1)}, {"s": np.array(shape)})
    assert outcome.difference <= 1
