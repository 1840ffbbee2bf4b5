"""Resize, where TFLite reads its source at the same places as ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeweave.targets.npu_ethos_u.emit.emission import Emission
from edgeweave.targets.npu_ethos_u.emit.layout import channels_last
from edgeweave.targets.npu_ethos_u.emit.quantized import Operator
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

Places = NDArray[np.float64]

_CODES = {
    "nearest": ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    "linear": ("RESIZE_BILINEAR", "ResizeBilinearOptions"),
}
# TFLite's modes: (alignCorners, halfPixelCenters)
_MODES = ((False, True), (False, False), (True, False))
_FIXED = 1024  # parts of a pixel
_CLOSE = 1 / _FIXED  # of a pixel: a quarter of a number between the least and the greatest


def emit_resize(emission: Emission, operator: Operator) -> None:
    """Resize of height and width by the mode of TFLite whose places are ONNX's."""
    mode = operator.attributes.get("mode", "nearest")
    image = emission.image(operator.value(0), operator)
    shape = operator.output.shape
    odd = [key for key in ("antialias", "exclude_outside") if operator.attributes.get(key)]
    if mode not in _CODES or odd or len(shape) != 4 or shape[:2] != image.shape[:2]:
        raise Refused("ethos-u.resize", f"{operator} is {mode}, not of height and width, or {odd}")
    if shape == image.shape:
        emission.settle(operator, image)
        return
    if mode == "linear" and shape[0] != 1:
        raise Refused("ethos-u.resize", f"{operator} is of {shape[0]} images")
    sides = list(zip(image.shape[2:], shape[2:], _scales(operator, image.shape), strict=True))
    wanted = [_source(operator, *side) for side in sides]
    for aligned, half in _MODES:
        there = [_tflite(mode, old, new, aligned, half) for old, new, _ in sides]
        if _is_scaled(mode, [side[:2] for side in sides], aligned, half) and all(
            np.abs(a - b).max() <= _CLOSE for a, b in zip(wanted, there, strict=True)
        ):
            break
    else:
        how = operator.attributes.get("coordinate_transformation_mode", "half_pixel")
        sizes = f"{image.shape[2:]} to {shape[2:]}, {how}"
        raise Refused("ethos-u.resize", f"{operator} is no resizing that TFLite has ({sizes})")
    code, options = _CODES[mode]
    if mode == "linear":
        emission.check_fineness(operator, image.quantisation)
    result = emission.tensor("resized", shape, channels_last(4), image.quantisation)
    inputs = [image.tensor, emission.integers("size", shape[2:])]
    fields = {"alignCorners": aligned, "halfPixelCenters": half}
    emission.operator(code, inputs, result.tensor, 3, options, fields)
    emission.settle(operator, result)


def _is_scaled(mode: str, sides: list[tuple[int, int]], aligned: bool, half: bool) -> bool:
    """Whether Vela takes the factor: one for height and width, 2, and mostly 4 or 8."""
    if all(old == 1 for old, _ in sides):
        return True
    less = int(aligned)
    factors = {(new - less) / max(old - less, 1) for old, new in sides if (old, new) != (1, 1)}
    return len(factors) == 1 and factors <= (
        {2.0} if mode == "linear" and half else {2.0, 4.0, 8.0}
    )


def _scales(operator: Operator, shape: tuple[int, ...]) -> list[float]:
    """New height and width by old ones, as the model says them or as the sizes do."""
    scales = operator.plain(2)
    if scales is not None and scales.size == len(shape):
        return [float(scale) for scale in scales[2:]]
    return [new / old for new, old in zip(operator.output.shape[2:], shape[2:], strict=True)]


def _source(operator: Operator, old: int, new: int, scale: float) -> Places:
    """Where each new pixel is read in the old ones, as ONNX has it."""
    how = operator.attributes.get("coordinate_transformation_mode", "half_pixel")
    at = np.arange(new, dtype=np.float64)
    places: dict[str, Callable[[], Places]] = {
        "half_pixel": lambda: (at + 0.5) / scale - 0.5,
        "pytorch_half_pixel": lambda: (at + 0.5) / scale - 0.5 if new > 1 else at * 0,
        "asymmetric": lambda: at / scale,
        "align_corners": lambda: at * (old - 1) / max(new - 1, 1),
    }
    if how not in places:
        raise Refused("ethos-u.resize", f"{operator} has the coordinates {how!r}")
    found = places[how]()
    if operator.attributes.get("mode", "nearest") == "nearest":
        found = _ROUND[operator.attributes.get("nearest_mode", "round_prefer_floor")](found)
    return np.asarray(np.clip(found, 0, old - 1))


_ROUND: dict[str, Callable[[Places], Any]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda places: np.ceil(places - 0.5),
    "round_prefer_ceil": lambda places: np.floor(places + 0.5),
}


def _tflite(mode: str, old: int, new: int, aligned: bool, half: bool) -> Places:
    """Where TFLite reads. Bilinear places are counted in whole 1024ths of a pixel, and so is the
    scale, whose error grows with the place.
    """
    at = np.arange(new)
    if mode == "nearest":
        scale = (old - 1) / (new - 1) if aligned and new > 1 else old / new
        places = (at + 0.5) * scale if half else at * scale
        whole = np.floor(places + 0.5) if aligned else np.floor(places)
        return np.asarray(np.clip(whole, 0, old - 1))
    above, below = (old - 1, new - 1) if aligned and new > 1 else (old, new)
    step = (_FIXED * above + below // 2) // below
    fixed = at * step + (step // 2 - _FIXED // 2 if half else 0)
    return np.asarray(np.clip(fixed / _FIXED, 0, old - 1))
