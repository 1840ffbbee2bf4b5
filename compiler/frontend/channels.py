"""How an operator treats the channels (axis 1) of its input: keeps, slices or sums them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeweave.compiler.frontend.weights import add_weight, attribute, constant, is_op

# One input, one output, every channel by itself, and zero stays zero.
_ZERO_TO_ZERO = frozenset(
    [
        "Relu",
        "LeakyRelu",
        "ThresholdedRelu",
        "Elu",
        "Selu",
        "Celu",
        "Tanh",
        "HardSwish",
        "Abs",
        "Neg",
        "Softsign",
        "Gelu",
        "Mish",
        "Swish",
        "Identity",
        "Erf",
        "Sqrt",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "MaxPool",
        "AveragePool",
        "GlobalMaxPool",
        "GlobalAveragePool",
    ]
)
# The same, but zero becomes another number.
_ZERO_TO_OTHER = frozenset(["Sigmoid", "HardSigmoid", "Softplus", "Exp"])


@dataclass(frozen=True)
class PerChannel:
    """An operator that computes each channel from the same channel of its input.

    ``keeps_zero`` tells for every channel whether zeros stay zeros; ``sliced`` are the positions of
    the constants that hold one entry per channel, with the axis of that entry; ``grouped`` marks a
    depthwise convolution, whose ``group`` is the number of channels.
    """

    keeps_zero: np.ndarray
    sliced: tuple[tuple[int, int], ...] = ()
    grouped: bool = False


@dataclass(frozen=True)
class Reader:
    """An operator that sums over the channels; ``reads`` marks those with a weight not zero.

    ``finite`` marks those whose weights are all finite; ``axis`` is the weight's channel axis.
    """

    reads: np.ndarray
    finite: np.ndarray
    axis: int


def treatment(node: ir.Node, position: int, channels: int) -> PerChannel | Reader | None:
    """What ``node`` does with the channels of its input ``position``; None if it mixes them."""
    if node.domain not in ("", "ai.onnx") or any(
        value.uses() or value.is_graph_output() for value in node.outputs[1:]
    ):
        return None
    if node.op_type in _ZERO_TO_ZERO:
        return PerChannel(np.ones(channels, bool))
    if node.op_type in _ZERO_TO_OTHER:
        return PerChannel(np.zeros(channels, bool))
    special = _SPECIAL.get(node.op_type)
    if special is None or (position != 0 and not is_op(node, "Add", "Mul")):
        return None
    return special(node, position, channels)


def slice_constant(
    graph: ir.Graph, node: ir.Node, position: int, axis: int, kept: np.ndarray
) -> None:
    """Let ``node`` read only the ``kept`` entries along ``axis`` of a constant input."""
    value = node.inputs[position]
    array = constant(value)
    if value is None or array is None:
        raise ValueError(f"input {position} of {node.name} is no constant")
    name = f"{value.name}/kept"
    node.replace_input_with(position, add_weight(graph, name, np.compress(kept, array, axis=axis)))


def _conv(node: ir.Node, _position: int, channels: int) -> PerChannel | Reader | None:
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim < 3:
        return None
    groups = attribute(node, "group", 1)
    if groups == 1:
        return _reader(weight, 1, channels)
    if groups != channels or weight.shape[:2] != (channels, 1):
        return None
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return PerChannel(np.isfinite(weight).reshape(channels, -1).all(1), ((1, 0),), True)
    bias = constant(node.inputs[2])
    if bias is None:
        return None
    return PerChannel(bias == 0, ((1, 0), (2, 0)), True)


def _conv_transpose(node: ir.Node, _position: int, channels: int) -> Reader | None:
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim < 3 or attribute(node, "group", 1) != 1:
        return None
    return _reader(weight, 0, channels)


def _reader(weight: np.ndarray, axis: int, channels: int) -> Reader | None:
    if weight.shape[axis] != channels:
        return None
    by_channel = np.moveaxis(weight, axis, 0).reshape(channels, -1)
    return Reader((by_channel != 0).any(1), np.isfinite(by_channel).all(1), axis)


def _batch_norm(node: ir.Node, _position: int, channels: int) -> PerChannel | None:
    numbers = [constant(value) for value in node.inputs[1:]]
    if attribute(node, "training_mode", 0) or len(numbers) != 4:
        return None
    if any(n is None or n.shape != (channels,) for n in numbers):
        return None
    _, shift, mean, _ = numbers
    keeps = np.asarray((shift == 0) & (mean == 0))
    return PerChannel(keeps, tuple((i, 0) for i in range(1, 5)))


def _arithmetic(node: ir.Node, position: int, channels: int) -> PerChannel | None:
    """Add, Mul and PRelu with a constant that broadcasts over all but the channels."""
    other = 1 - position
    value = node.inputs[other] if len(node.inputs) == 2 else None
    array, read = constant(value), node.inputs[position]
    if array is None or read is None or read.shape is None or array.ndim > len(read.shape):
        return None
    axis = array.ndim - len(read.shape) + 1
    if any(size != 1 for i, size in enumerate(array.shape) if i != axis):
        return None
    sliced = axis >= 0 and array.shape[axis] == channels != 1
    if not sliced and array.size != 1:
        return None
    keeps = array == 0 if node.op_type == "Add" else np.isfinite(array)
    mask = np.broadcast_to(keeps.reshape(-1), (channels,))
    return PerChannel(mask, ((other, axis),) if sliced else ())


def _clip(node: ir.Node, _position: int, channels: int) -> PerChannel | None:
    keeps = True
    for value, sign in zip(node.inputs[1:], (1, -1), strict=False):
        limit = constant(value)
        if value is not None and limit is None:
            return None
        keeps &= limit is None or bool((sign * limit <= 0).all())
    if {"min", "max"} & node.attributes.keys():
        keeps &= attribute(node, "min", 0.0) <= 0 <= attribute(node, "max", 0.0)
    return PerChannel(np.full(channels, keeps))


def _resize(node: ir.Node, _position: int, channels: int) -> PerChannel | None:
    scales = constant(node.inputs[2]) if len(node.inputs) == 3 else None
    if scales is None or scales.ndim != 1 or scales.size < 3 or scales[1] != 1:
        return None
    crops = attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    return None if crops or "axes" in node.attributes else PerChannel(np.ones(channels, bool))


_SPECIAL: dict[str, Callable[[ir.Node, int, int], PerChannel | Reader | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "Add": _arithmetic,
    "Mul": _arithmetic,
    "PRelu": _arithmetic,
    "Clip": _clip,
    "Resize": _resize,
}
