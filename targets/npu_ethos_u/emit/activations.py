"""Operators on one number at a time, and Softmax."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeweave.targets.npu_ethos_u.emit.arithmetic import aligned
from edgeweave.targets.npu_ethos_u.emit.bounds import fused_activation
from edgeweave.targets.npu_ethos_u.emit.convolutions import convolve
from edgeweave.targets.npu_ethos_u.emit.emission import Emission
from edgeweave.targets.npu_ethos_u.emit.kernel import read_kernel
from edgeweave.targets.npu_ethos_u.emit.layout import channels_last, plain
from edgeweave.targets.npu_ethos_u.emit.quantized import (
    INT8,
    Constant,
    Operator,
    Quantisation,
)
from edgeweave.targets.npu_ethos_u.emit.reading import clip_bounds
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused
from edgeweave.targets.npu_ethos_u.emit.window import POINT

_ZERO_TO_ONE = Quantisation(1 / 256, -128)
_MINUS_ONE_TO_ONE = Quantisation(1 / 128, 0)
_HARD_SWISH = 128  # times finer than what is read: LiteRT's kernel takes no more
_MOST_PLACES = 511  # from 2^9 equal ones on, LiteRT's reference kernel shifts too far and aborts
# what TFLite fixes the result's scale and zero point to; None where they are free
_CODES: dict[str, tuple[str, int, str | None, Quantisation | None]] = {
    "Sigmoid": ("LOGISTIC", 2, None, _ZERO_TO_ONE),
    "Tanh": ("TANH", 2, None, _MINUS_ONE_TO_ONE),
    "HardSwish": ("HARD_SWISH", 1, "HardSwishOptions", None),
    "Exp": ("EXP", 2, "ExpOptions", None),
}


def emit_requantise(emission: Emission, operator: Operator) -> None:
    """A value at another scale: QUANTIZE."""
    emission.settle(operator, emission.read(operator.inputs[0], operator))


def emit_bounded(emission: Emission, operator: Operator) -> None:
    """Relu and Clip of a quantised value: at the result's scale, then bounded there."""
    bounds = (0.0, np.inf)
    if operator.kind == "Clip":
        bounds = clip_bounds(operator.inputs, dict(operator.attributes))
    x = emission.requantised(
        emission.read(operator.value(0), operator), operator.output.quantisation
    )
    low, high = (operator.output.quantisation.number(bound) for bound in bounds)
    low = min(low, high)  # as ONNX has it: the greatest wins where the two are crossed
    if (low, high) != INT8:
        x = emission.bounded(x, low, high)
    emission.settle(operator, x)


def emit_function(emission: Emission, operator: Operator) -> None:
    """Sigmoid, Tanh, HardSwish and Exp, at the scale that TFLite gives them."""
    code, version, options, fixed = _CODES[operator.kind]
    x = emission.read(operator.value(0), operator)
    quantisation = fixed or operator.output.quantisation
    emission.check_fineness(operator, quantisation)
    if code == "HARD_SWISH" and x.quantisation.scale >= _HARD_SWISH * quantisation.scale:
        raise Refused("ethos-u.fine-scale", f"{operator} is wanted in steps too fine for TFLite")
    there = emission.tensor(operator.output.name, x.shape, x.layout, quantisation)
    emission.operator(code, [x.tensor], there.tensor, version, options)
    emission.settle(operator, there)


def emit_hard_sigmoid(emission: Emission, operator: Operator) -> None:
    """HardSigmoid, a line between 0 and 1, as a depthwise 1x1 convolution whose result is bounded.

    The weights are all the largest number, at the scale that makes it the line's slope.
    """
    slope = float(operator.attributes.get("alpha", 0.2))
    offset = float(operator.attributes.get("beta", 0.5))
    x = emission.read(operator.value(0), operator)
    if not slope > 0:
        raise Refused("ethos-u.operator", f"{operator} has the slope {slope}")
    channels = x.lies[-1]
    rows = int(np.prod(x.lies[:-1]))
    image = emission.viewed(x, (1, channels, rows, 1), channels_last(4))
    weights = Constant(
        "slope",
        np.full((channels, 1, 1, 1), INT8[1], np.int8),
        np.full(channels, slope / INT8[1], np.float32),
        0,
        0,
    )
    line = replace(operator, inputs=(operator.value(0), weights, np.full(channels, offset)))
    kernel = read_kernel(line, x, weights, bias=2)
    low, high = operator.bounds or (0.0, 1.0)
    bounded = replace(operator, bounds=(min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)))
    fused = fused_activation(bounded)
    there = emission.result(operator, channels_last(4), image.shape)
    convolve(emission, image, kernel, POINT, there, fused)
    emission.settle(bounded, emission.viewed(there, x.shape, x.layout), fused)


def emit_softmax(emission: Emission, operator: Operator) -> None:
    """Softmax over one axis, which must be the tensor's last."""
    x = emission.read(operator.value(0), operator)
    rank = len(x.shape)
    axis = operator.attributes.get("axis", -1 if operator.opset >= 13 else 1) % rank
    if operator.opset < 13 and any(size != 1 for size in x.shape[axis + 1 :]):
        raise Refused("ethos-u.softmax", f"{operator} is over several axes")
    if x.layout[-1] != axis:
        others = [a for a in plain(rank) if a != axis]
        x = emission.transposed(x, (*others, axis))
    if x.shape[axis] > _MOST_PLACES:
        raise Refused("ethos-u.softmax", f"{operator} is over {x.shape[axis]} places")
    emission.check_fineness(operator, _ZERO_TO_ONE)
    there = emission.tensor(operator.output.name, x.shape, x.layout, _ZERO_TO_ONE)
    emission.operator("SOFTMAX", [x.tensor], there.tensor, 2, "SoftmaxOptions", {"beta": 1.0})
    emission.settle(operator, there)


def emit_leaky_relu(emission: Emission, operator: Operator) -> None:
    """LeakyRelu as LEAKY_RELU."""
    x = emission.read(operator.value(0), operator)
    there = emission.result(operator, x.layout)
    fields = {"alpha": float(operator.attributes.get("alpha", 0.01))}
    emission.operator("LEAKY_RELU", [x.tensor], there.tensor, 2, "LeakyReluOptions", fields)
    emission.settle(operator, there)


def emit_prelu(emission: Emission, operator: Operator) -> None:
    """PRelu as PRELU. Slopes that are not quantised get the finest scale that holds them all."""
    x = emission.read(operator.value(0), operator)
    slopes = operator.inputs[1]
    if isinstance(slopes, np.ndarray):
        slopes = _quantised(f"{operator.output.name}/slopes", slopes)
    alpha = aligned(emission, operator, slopes, x.layout)
    there = emission.result(operator, x.layout)
    emission.operator("PRELU", [x.tensor, alpha.tensor], there.tensor)
    emission.settle(operator, there)


def _quantised(name: str, real: NDArray[Any]) -> Constant:
    low, high = min(float(real.min()), 0.0), max(float(real.max()), 0.0)
    scale = np.float32((high - low) / 255 or 1.0)
    zero = int(np.rint(INT8[0] - low / scale))
    numbers = np.clip(np.rint(real / scale) + zero, *INT8).astype(np.int8)
    return Constant(name, numbers, np.atleast_1d(scale), zero, 0)
