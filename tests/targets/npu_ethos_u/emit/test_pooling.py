import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 14, 18)
WINDOWS = {
    "2x2": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "same": {"kernel_shape": [3, 3], "pads": [1] * 4},
    "stride 2, padded on both sides": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
    "unequal pads": {"kernel_shape": [3, 3], "pads": [2, 1, 0, 1]},
    "rounded up": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "stride 4": {"kernel_shape": [4, 4], "strides": [4, 4]},
}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_max_pool(check, n, window, keep):
    outcome = check([n("MaxPool", "x", "y", **WINDOWS[window])], {"x": IMAGE}, keep=keep)
    assert outcome.difference <= 1
    assert outcome.codes.count("QUANTIZE") == (not keep)


def test_max_pool_without_its_indices(quantised, compare, n):
    model = quantised([n("MaxPool", "x", "y", **WINDOWS["2x2"])], {"x": IMAGE}, keep=True)
    (pool,) = (node for node in model.graph.node if node.op_type == "MaxPool")
    pool.output.append("")
    clip = n("Clip", "y/dq - -", "z")  # reads two inputs that are left out
    dequantise = n("DequantizeLinear", "y/q y/scale y/zero", "y/dq")
    quantise = n("QuantizeLinear", "z y/scale y/zero", "z/q")
    model.graph.node.extend([dequantise, clip, quantise])
    model.graph.output[0].name = "z/q"
    assert compare(model).difference == 0


def test_max_pool_s_padding_never_wins(quantised, compare, n):
    # negative values only: a padding of zero would be the greatest of every window at the border
    model = quantised([n("MaxPool", "x", "y", **WINDOWS["unequal pads"])], {"x": IMAGE}, keep=True)
    for initializer in model.graph.initializer:
        if initializer.name in ("x/zero", "y/zero"):
            initializer.raw_data = np.int8(127).tobytes()
    outcome = compare(model)
    assert outcome.difference == 0
    assert outcome.codes == ["PADV2", "MAX_POOL_2D"]


AVERAGES = {
    "2x2": (WINDOWS["2x2"], ["DEPTHWISE_CONV_2D"]),
    "pads counted": (
        {**WINDOWS["stride 2, padded on both sides"], "count_include_pad": 1},
        ["PAD", "DEPTHWISE_CONV_2D"],
    ),
}


@pytest.mark.parametrize("case", AVERAGES)
def test_average_pool_at_another_scale_rounds_once(check, n, case):
    window, codes = AVERAGES[case]
    outcome = check([n("AveragePool", "x", "y", **window)], {"x": IMAGE})
    assert outcome.difference <= 1
    assert outcome.codes == codes


@pytest.fixture
def at_one_scale(quantised, compare, n):
    """An AveragePool whose result has the scale of what it reads."""

    def run(**window):
        model = quantised([n("AveragePool", "x", "y", **window)], {"x": IMAGE})
        values = {i.name: i for i in model.graph.initializer}
        for part in ("scale", "zero"):
            values[f"y/{part}"].raw_data = values[f"x/{part}"].raw_data
        return compare(model)

    return run


POOLS = {
    "2x2": (WINDOWS["2x2"], ["AVERAGE_POOL_2D"]),
    "same, pads not counted": (WINDOWS["same"], ["AVERAGE_POOL_2D"]),
    "rounded up": (WINDOWS["rounded up"], ["AVERAGE_POOL_2D"]),
    "stride 4": (WINDOWS["stride 4"], ["AVERAGE_POOL_2D"]),
    "pads counted": ({**WINDOWS["same"], "count_include_pad": 1}, ["PAD", "AVERAGE_POOL_2D"]),
}


@pytest.mark.parametrize("case", POOLS)
def test_average_pool_at_one_scale(at_one_scale, case):
    window, codes = POOLS[case]
    outcome = at_one_scale(**window)
    assert outcome.difference <= 1
    assert outcome.codes == codes


REFUSED = {
    "pads that TFLite has not": (
        "AveragePool",
        WINDOWS["stride 2, padded on both sides"],
        "pool-padding",
    ),
    "rounded up, pads counted": (
        "AveragePool",
        {**WINDOWS["rounded up"], "count_include_pad": 1},
        "pool-padding",
    ),
    "rounded twice to far finer steps": ("AveragePool", WINDOWS["stride 4"], "fine-scale"),
    "dilated": ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, "pool"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(check, n, case):
    kind, window, rule = REFUSED[case]
    with pytest.raises(Refused) as caught:
        check([n(kind, "x", "y", **window)], {"x": IMAGE})
    assert caught.value.rule == f"ethos-u.{rule}"


def test_a_window_that_begins_outside_of_the_image_is_refused(quantised, compare, n):
    # onnx counts such a window and ONNX Runtime does not
    window = {"kernel_shape": [3, 2], "pads": [1] * 4, "strides": [2, 4], "ceil_mode": 1}
    with pytest.raises(Refused, match="outside of the image"):
        compare(quantised([n("MaxPool", "x", "y", **window)], {"x": (1, 3, 14, 1)}))


def test_an_average_over_more_than_the_image_is_refused(check, n):
    # ONNX Runtime gives one place there, and divides by what lies inside
    window = {"kernel_shape": [1, 2], "strides": [1, 4], "count_include_pad": 1}
    with pytest.raises(Refused, match="beyond its pads"):
        check([n("AveragePool", "x", "y", **window)], {"x": (1, 3, 5, 1)})


def test_a_pool_of_one_dimension_is_refused(check, n):
    with pytest.raises(Refused, match="not two-dimensional"):
        check([n("MaxPool", "x", "y", kernel_shape=[2])], {"x": (1, 8, 10)})


REDUCTIONS = {
    "height and width": ("x axes", (2, 3), IMAGE),
    "channels": ("x axes", (1,), IMAGE),
    "width": ("x axes", (3,), IMAGE),
    "channels and height": ("x axes", (1, 2), IMAGE),
    "all but the batch": ("x axes", (1, 2, 3), IMAGE),
    "of several images": ("x axes", (-2, -1), (2, 8, 6, 6)),
    "the middle of three": ("x axes", (1,), (2, 5, 7)),
    "the last of three": ("x axes", (-1,), (2, 5, 7)),
    "an axis of one": ("x axes", (0,), IMAGE),
    "all": ("x", (), IMAGE),
}


@pytest.mark.parametrize(("kind", "keepdims"), [("ReduceMean", 0), ("ReduceMax", 1)])
@pytest.mark.parametrize("case", REDUCTIONS)
def test_reductions(check, n, case, kind, keepdims):
    inputs, axes, shape = REDUCTIONS[case]
    constants = {"axes": np.array(axes)} if axes else {}
    keepdims = keepdims or not axes  # else it gives a scalar, which is refused
    outcome = check([n(kind, inputs, "y", keepdims=int(keepdims))], {"x": shape}, constants)
    assert outcome.difference <= 1
    code = {"ReduceMean": "MEAN", "ReduceMax": "REDUCE_MAX"}[kind]
    assert outcome.codes.count(code) == 1


def test_global_average_pool(check, n):
    outcome = check([n("GlobalAveragePool", "x", "y")], {"x": IMAGE})
    assert outcome.difference <= 1
    assert outcome.codes == ["MEAN"]


def test_a_reduction_of_nothing_is_refused(check, n):
    with pytest.raises(Refused, match="reduces nothing") as caught:
        check([n("ReduceMean", "x", "y", noop_with_empty_axes=1)], {"x": IMAGE})
    assert caught.value.rule == "ethos-u.reduction"
