import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 6, 9)
TAKEN = [
    ("nearest", "asymmetric", "floor", 2),
    ("nearest", "asymmetric", "floor", 4),
    ("nearest", "asymmetric", "round_prefer_floor", 2),
    ("nearest", "half_pixel", "round_prefer_floor", 2),
    ("nearest", "half_pixel", "round_prefer_ceil", 4),
    ("nearest", "pytorch_half_pixel", "round_prefer_floor", 8),
    ("linear", "asymmetric", "floor", 2),
    ("linear", "asymmetric", "floor", 4),
    ("linear", "half_pixel", "floor", 2),
    ("linear", "pytorch_half_pixel", "floor", 2),
]
REFUSED = [
    ("nearest", "asymmetric", "round_prefer_ceil", 2),
    ("nearest", "half_pixel", "floor", 2),
    ("nearest", "asymmetric", "floor", 3),
    ("linear", "half_pixel", "floor", 4),
    ("linear", "align_corners", "floor", 2),
    ("cubic", "half_pixel", "floor", 2),
    ("linear", "half_pixel_symmetric", "floor", 2),
]


def _resize(n, mode, how, rounding, inputs="x - scales"):
    return n(
        "Resize",
        inputs,
        "y",
        mode=mode,
        coordinate_transformation_mode=how,
        nearest_mode=rounding,
    )


def _scales(height, width):
    return {"scales": np.array([1, 1, height, width], np.float32)}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("mode", "how", "rounding", "factor"), TAKEN)
def test_resize_by_a_factor(check, n, mode, how, rounding, factor, keep):
    nodes = [_resize(n, mode, how, rounding)]
    outcome = check(nodes, {"x": IMAGE}, _scales(factor, factor), keep=keep)
    assert outcome.difference <= (1 if mode == "linear" or not keep else 0)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_corners_to_corners(check, n, mode):
    nodes = [_resize(n, mode, "align_corners", "round_prefer_ceil", "x - - sizes")]
    outcome = check(nodes, {"x": IMAGE}, {"sizes": np.array([1, 8, 11, 17])}, keep=True)
    assert outcome.difference <= 1


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("shape", "factors"), [((1, 8, 1, 1), (5, 7)), (IMAGE, (1, 1))])
def test_one_pixel_and_no_change_take_any_factor(check, n, mode, shape, factors):
    nodes = [_resize(n, mode, "asymmetric", "floor")]
    assert check(nodes, {"x": shape}, _scales(*factors), keep=True).difference == 0


@pytest.mark.parametrize(("mode", "how", "rounding", "factor"), REFUSED)
def test_what_tflite_or_vela_has_not_is_refused(check, n, mode, how, rounding, factor):
    nodes = [_resize(n, mode, how, rounding)]
    with pytest.raises(Refused) as caught:
        check(nodes, {"x": IMAGE}, _scales(factor, factor), keep=True, opset=19)
    assert caught.value.rule == "ethos-u.resize"


def test_unequal_factors_are_refused(check, n):
    with pytest.raises(Refused, match=r"\(6, 9\) to \(6, 18\)"):
        check([_resize(n, "nearest", "asymmetric", "floor")], {"x": IMAGE}, _scales(1, 2))


def test_several_images_are_not_resized_linearly(check, n):
    nodes = [_resize(n, "linear", "half_pixel", "floor")]
    with pytest.raises(Refused, match="of 2 images"):
        check(nodes, {"x": (2, 8, 6, 9)}, _scales(2, 2))


def test_channels_are_not_resized(check, n):
    scales = {"scales": np.array([1, 2, 1, 1], np.float32)}
    with pytest.raises(Refused, match="not of height and width"):
        check([_resize(n, "nearest", "asymmetric", "floor")], {"x": IMAGE}, scales)
