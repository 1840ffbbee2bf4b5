"""Folding of per-channel scales and shifts into the layer before."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeweave.compiler.frontend.weights import (
    add_weight,
    attribute,
    constant,
    is_op,
    sole_consumer,
)

_LAYERS = ("Conv", "ConvTranspose", "Gemm")
_PRECISIONS = ("float32", "float16")

# y = scale * x + shift, one of each per channel, in float64.
Affine = tuple[np.ndarray, np.ndarray]


def fold_scales(model: ir.Model) -> int:
    """Fold BatchNormalization and per-channel Mul, Add, Sub, Div into Conv, ConvTranspose or Gemm.

    A node is folded when it alone reads the layer and all numbers are constants; how many nodes
    were folded. The result is the same up to the rounding of the new weights.
    """
    count = 0
    for layer in list(model.graph):
        if is_op(layer, *_LAYERS):
            while _fold_next(model.graph, layer):
                count += 1
    return count


def _fold_next(graph: ir.Graph, layer: ir.Node) -> bool:
    weight, bias = constant(layer.inputs[1]), None
    if weight is None or weight.dtype.name not in _PRECISIONS or weight.ndim < 2:
        return False
    if len(layer.inputs) > 2 and layer.inputs[2] is not None:
        bias = constant(layer.inputs[2])
        if bias is None:
            return False
    result = layer.outputs[0]
    node = sole_consumer(result)
    if node is None or node.graph is not graph:
        return False
    channels = _channels(layer, weight)
    affine = _affine(node, result, channels, weight.ndim)
    if affine is None:
        return False
    folded = _folded(layer, weight, bias, channels, affine)
    if folded is None:
        return False
    _rewire(graph, layer, node, *folded)
    return True


def _channels(layer: ir.Node, weight: np.ndarray) -> int:
    if layer.op_type == "Conv":
        return int(weight.shape[0])
    if layer.op_type == "ConvTranspose":
        return int(weight.shape[1]) * int(attribute(layer, "group", 1))
    return int(weight.shape[0 if attribute(layer, "transB", 0) else 1])


def _affine(node: ir.Node, read: ir.Value, channels: int, rank: int) -> Affine | None:
    """What ``node`` does to ``read`` as a scale and a shift per channel, if it is just that."""
    one, zero = np.ones(channels), np.zeros(channels)
    if is_op(node, "BatchNormalization"):
        return _batch_norm(node, channels) if node.inputs[0] is read else None
    if not is_op(node, "Mul", "Add", "Sub", "Div") or len(node.inputs) != 2:
        return None
    position = 1 if node.inputs[0] is read else 0
    if position == 0 and node.op_type in ("Sub", "Div"):
        return None
    factor = _per_channel(constant(node.inputs[position]), channels, rank)
    if factor is None:
        return None
    if node.op_type == "Mul":
        return factor, zero
    if node.op_type == "Div":
        return (one / factor, zero) if factor.all() else None
    return one, factor if node.op_type == "Add" else -factor


def _batch_norm(node: ir.Node, channels: int) -> Affine | None:
    numbers = [constant(value) for value in node.inputs[1:]]
    trains = attribute(node, "training_mode", 0)
    if trains or any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    if len(numbers) != 4 or any(n is None or n.shape != (channels,) for n in numbers):
        return None
    scale, shift, mean, variance = (np.asarray(n, np.float64) for n in numbers)
    deviation = np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    if not (deviation > 0).all():
        return None
    return scale / deviation, shift - mean * scale / deviation


def _per_channel(value: np.ndarray | None, channels: int, rank: int) -> np.ndarray | None:
    """A constant that broadcasts along every axis but the channels', as one number per channel."""
    if value is None or value.ndim > rank or value.dtype.name not in _PRECISIONS:
        return None
    shape = (1,) * (rank - value.ndim) + value.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    if shape[1] not in (1, channels):
        return None
    return np.broadcast_to(value.reshape(-1).astype(np.float64), (channels,))


def _folded(
    layer: ir.Node, weight: np.ndarray, bias: np.ndarray | None, channels: int, affine: Affine
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The layer's new weight and bias, or None where they leave the range of their type."""
    scale, shift = affine
    old = np.zeros(channels)
    if bias is not None:
        if bias.size not in (1, channels) or bias.shape[-1:] not in ((), (1,), (channels,)):
            return None
        old = np.broadcast_to(bias.reshape(-1).astype(np.float64), (channels,))
        if layer.op_type == "Gemm":
            old = old * attribute(layer, "beta", 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        new_weight = _scaled(layer, weight.astype(np.float64), scale).astype(weight.dtype)
        new_bias = (old * scale + shift).astype(weight.dtype)
    if np.isfinite(weight).all() and not np.isfinite(new_weight).all():
        return None
    if not np.isfinite(new_bias).all():
        return None
    return new_weight, new_bias if bias is not None or new_bias.any() else None


def _scaled(layer: ir.Node, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    if layer.op_type == "Gemm":
        return np.asarray(weight * (scale[:, None] if attribute(layer, "transB", 0) else scale))
    spatial = (1,) * (weight.ndim - 2)
    if layer.op_type == "Conv":
        return np.asarray(weight * scale.reshape(-1, 1, *spatial))
    # Weights of ConvTranspose are (inputs, outputs per group, ...), the inputs grouped too.
    groups = int(attribute(layer, "group", 1))
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    return np.asarray((grouped * scale.reshape(groups, 1, -1, *spatial)).reshape(weight.shape))


def _rewire(
    graph: ir.Graph, layer: ir.Node, node: ir.Node, weight: np.ndarray, bias: np.ndarray | None
) -> None:
    """Give the layer its new numbers and the output of the folded node."""
    kept, gone = layer.outputs[0], node.outputs[0]
    layer.replace_input_with(1, add_weight(graph, f"{gone.name}/weight", weight))
    if bias is not None:
        if len(layer.inputs) < 3:
            layer.resize_inputs(3)
        layer.replace_input_with(2, add_weight(graph, f"{gone.name}/bias", bias))
        if "beta" in layer.attributes:
            layer.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    name, gone.name = gone.name, None
    kept.name, kept.type, kept.shape = name, gone.type, gone.shape
    gone.replace_all_uses_with(kept, replace_graph_outputs=True)
    graph.remove(node, safe=True)
