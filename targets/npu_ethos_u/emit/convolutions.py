"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeweave.targets.npu_ethos_u.emit.bounds import ACTIVATIONS, fused_activation
from edgeweave.targets.npu_ethos_u.emit.emission import Emission, Placed
from edgeweave.targets.npu_ethos_u.emit.kernel import (
    Kernel,
    place_kernel,
    read_kernel,
    read_weights,
)
from edgeweave.targets.npu_ethos_u.emit.layout import channels_last
from edgeweave.targets.npu_ethos_u.emit.quantized import Constant, Operator
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused
from edgeweave.targets.npu_ethos_u.emit.window import (
    MOST_STRIDE,
    SAME,
    VALID,
    Pair,
    Window,
    padded_image,
    read_window,
)


def emit_conv(emission: Emission, operator: Operator) -> None:
    """Conv as CONV_2D or DEPTHWISE_CONV_2D; a grouped one as one CONV_2D per group."""
    constant = read_weights(operator, 1, outputs=0)
    if constant.numbers.ndim not in (3, 4):
        dimensions = constant.numbers.ndim - 2
        raise Refused("ethos-u.convolution", f"{operator} has {dimensions} spatial dimensions")
    image = emission.image(operator.value(0), operator)
    kernel = read_kernel(operator, image, _two_dimensional(constant), bias=2)
    window = read_window(operator, image.shape[2:], kernel.weights.shape[2:])
    outputs, taken = kernel.weights.shape[:2]
    groups = int(operator.attributes.get("group", 1))
    _refuse_strides(operator, window, depthwise=groups > 1 == taken)
    shape = (image.shape[0], outputs, *window.output((image.shape[2], image.shape[3])))
    there = emission.result(operator, channels_last(4), shape)
    fused = fused_activation(operator)
    if groups == 1 or taken == 1:
        convolve(emission, image, kernel, window, there, fused)
    else:
        _convolve_groups(emission, image, kernel, window, there, fused, groups)
    emission.settle(operator, there, fused)


def _refuse_strides(operator: Operator, window: Window, depthwise: bool) -> None:
    # tried with Vela 5.2: it leaves these to a CPU, and fails where a PAD comes before
    dense = not (depthwise or any(window.pads) or max(window.dilations) > 1)
    if max(window.strides) > MOST_STRIDE and not dense:
        raise Refused(
            "ethos-u.convolution",
            f"{operator} has strides {window.strides}, and pads, dilation or one channel at a time",
        )


def convolve(
    emission: Emission, image: Placed, kernel: Kernel, window: Window, there: Placed, fused: str
) -> None:
    """CONV_2D of an image (N, H, W, C) into ``there``.

    A kernel that sees one of several channels is a DEPTHWISE_CONV_2D.
    """
    depthwise = kernel.weights.shape[1] == 1 < image.shape[1]
    image, padding = padded_image(emission, image, window)
    fields = {
        "padding": padding,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0],
        "dilationWFactor": window.dilations[1],
        "fusedActivationFunction": ACTIVATIONS[fused],
    }
    code, options = "CONV_2D", "Conv2DOptions"
    if depthwise:
        code, options = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        fields["depthMultiplier"] = kernel.weights.shape[0] // image.shape[1]
    inputs = [image.tensor, *place_kernel(emission, kernel, image, code.lower(), depthwise)]
    emission.operator(code, inputs, there.tensor, 3, options, fields)


def _convolve_groups(
    emission: Emission,
    image: Placed,
    kernel: Kernel,
    window: Window,
    there: Placed,
    fused: str,
    groups: int,
) -> None:
    batch, channels, height, width = image.shape
    taken, given = channels // groups, kernel.weights.shape[0] // groups
    parts = []
    for group in range(groups):
        begins = (0, group * taken, 0, 0)
        source = emission.sliced(image, begins, (batch, taken, height, width))
        shape = (there.shape[0], given, *there.shape[2:])
        part = emission.tensor("group", shape, there.layout, there.quantisation)
        of_group = kernel.part(slice(group * given, (group + 1) * given))
        convolve(emission, source, of_group, window, part, fused)
        parts.append(part)
    emission.joined(parts, 1, there)


def emit_conv_transpose(emission: Emission, operator: Operator) -> None:
    """ConvTranspose as TRANSPOSE_CONV; where the pads are not SAME's, they are cut off after it."""
    constant = read_weights(operator, 1, outputs=1)
    if constant.numbers.ndim != 4:
        raise Refused("ethos-u.transposed-convolution", f"{operator} is not two-dimensional")
    image = emission.image(operator.value(0), operator)
    window = read_window(operator, image.shape[2:], constant.numbers.shape[2:])
    if window.strides not in ((1, 1), (2, 2)):
        raise Refused("ethos-u.transposed-convolution", f"{operator} has strides {window.strides}")
    size, wanted = (image.shape[2], image.shape[3]), operator.output.shape[2:]
    begins = _begins(operator, window, size)
    # zeros behind the kernel: Vela wants it no smaller than the stride, and what ONNX pads the
    # output with must be reached
    reach = [
        max(stride, reach, begin + want - (old - 1) * stride)
        for stride, reach, begin, want, old in zip(
            window.strides, window.reach, begins, wanted, size, strict=True
        )
    ]
    full = [(old - 1) * s + r for old, s, r in zip(size, window.strides, reach, strict=True)]
    weights = _dense(constant, int(operator.attributes.get("group", 1)), window, reach)
    kernel = read_kernel(operator, image, weights, bias=2)
    same = all(
        want == old * stride and begin == (whole - want) // 2
        for want, old, stride, begin, whole in zip(
            wanted, size, window.strides, begins, full, strict=True
        )
    )
    shape = operator.output.shape if same else (*operator.output.shape[:2], *full)
    there = emission.result(operator, channels_last(4), shape)
    data, bias = place_kernel(emission, kernel, image, "transpose_conv")
    inputs = [emission.integers("shape", there.lies), data, image.tensor, bias]
    fields = {
        "padding": SAME if same else VALID,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
    }
    emission.operator("TRANSPOSE_CONV", inputs, there.tensor, 3, "TransposeConvOptions", fields)
    if not same:
        there = emission.sliced(there, (0, 0, *begins), operator.output.shape)
    emission.settle(operator, there)


def _begins(operator: Operator, window: Window, size: Pair) -> Sequence[int]:
    """Where in all that the kernel reaches the output begins."""
    automatic = operator.attributes.get("auto_pad", "NOTSET")
    begins: Sequence[int] = window.pads[:2]
    if operator.attributes.get("output_shape") or automatic.startswith("SAME"):
        # ONNX: what is too much is cut off on both sides, the odd one after in SAME_UPPER only
        more = operator.attributes.get("output_padding") or (0, 0)
        cuts = [
            (old - 1) * stride + reach + extra - want
            for old, stride, reach, extra, want in zip(
                size, window.strides, window.reach, more, operator.output.shape[2:], strict=True
            )
        ]
        begins = [cut // 2 if automatic == "SAME_UPPER" else cut - cut // 2 for cut in cuts]
    if min(begins) < 0:
        raise Refused("ethos-u.transposed-convolution", f"{operator} pads its output before")
    return begins


def _dense(constant: Constant, groups: int, window: Window, size: Sequence[int]) -> Constant:
    """Weights (output, input, *size) without groups and dilation: zeros fill the gaps."""
    inputs, given, _, _ = constant.numbers.shape
    taken = inputs // groups
    (down, right), (high, wide) = window.dilations, window.reach
    dense = np.zeros((groups * given, inputs, *size), np.int8)
    for group in range(groups):
        of_group = constant.numbers[group * taken : (group + 1) * taken].transpose(1, 0, 2, 3)
        outputs = slice(group * given, (group + 1) * given)
        seen = slice(group * taken, (group + 1) * taken)
        dense[outputs, seen, :high:down, :wide:right] = of_group
    scales = constant.scales
    if scales.size > 1:  # the groups share them: ONNX has one per output channel of a group
        scales = np.tile(scales, groups)
    return Constant(constant.name, dense, scales, 0, 0)


def _two_dimensional(constant: Constant) -> Constant:
    numbers: NDArray[np.int8] = constant.numbers
    if numbers.ndim == 3:
        numbers = numbers[:, :, None, :]
    return Constant(constant.name, numbers, constant.scales, 0, 0)
