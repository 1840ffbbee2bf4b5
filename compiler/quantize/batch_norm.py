"""Batch normalisation that no layer could take in, as a depthwise convolution."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeweave.compiler.frontend.weights import (
    add_weight,
    attribute,
    constant,
    is_op,
    name_of,
    sole_consumer,
)


def write_as_convolutions(model: ir.Model) -> int:
    """Replace BatchNormalization of images by depthwise 1x1 convolutions; how many.

    int8 has one scale for all channels of a value, but one per channel for the weights of a
    convolution, whose bias has 32 bits. The sum of two values that is then normalised becomes the
    sum of two normalised values: channels whose numbers are large in one of the two would
    otherwise take the steps from those that are small in it and that the normalisation enlarges.
    """
    count = 0
    for node in list(model.graph):
        affine = _affine(node)
        if affine is None:
            continue
        scale, shift = affine
        total = _sum_before(node)
        if total is None:
            last = _convolution(model.graph, node, node.inputs[0], scale, shift, "")
        else:
            first, second = total.inputs
            last = ir.Node(
                "",
                "Add",
                [
                    _convolution(model.graph, node, first, scale, shift, "/first").outputs[0],
                    _convolution(model.graph, node, second, scale, None, "/second").outputs[0],
                ],
                num_outputs=1,
            )
            model.graph.insert_before(node, last)
        _replace(model.graph, node, last)
        if total is not None:
            model.graph.remove(total, safe=True)
        count += 1
    return count


def _affine(node: ir.Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift of each channel of a BatchNormalization of a float32 image, else None."""
    if not is_op(node, "BatchNormalization") or attribute(node, "training_mode", 0):
        return None
    shape = node.outputs[0].shape
    numbers = [constant(value) for value in node.inputs[1:]]
    if shape is None or len(shape) != 4 or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    if any(number is None for number in numbers) or len(node.outputs) != 1:
        return None
    scale, shift, mean, variance = (np.asarray(number, np.float64) for number in numbers)
    deviation = np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    if not (deviation > 0).all():
        return None
    return scale / deviation, shift - mean * scale / deviation


def _sum_before(node: ir.Node) -> ir.Node | None:
    """The Add that only ``node`` reads and whose operands are values of the same shape."""
    value = node.inputs[0]
    total = value.producer() if value is not None else None
    if value is None or total is None or not is_op(total, "Add"):
        return None
    if sole_consumer(value) is not node or value.shape is None:
        return None
    for operand in total.inputs:
        if operand is None or operand.is_initializer() or operand.shape != value.shape:
            return None
    return total


def _convolution(
    graph: ir.Graph,
    node: ir.Node,
    value: ir.Value | None,
    scale: np.ndarray,
    shift: np.ndarray | None,
    suffix: str,
) -> ir.Node:
    name = f"{name_of(node.outputs[0])}{suffix}"
    weight = scale.astype(np.float32).reshape(-1, 1, 1, 1)
    inputs = [value, add_weight(graph, f"{name}/weight", weight)]
    if shift is not None:
        inputs.append(add_weight(graph, f"{name}/bias", shift.astype(np.float32)))
    attributes = [ir.AttrInt64("group", len(scale)), ir.AttrInt64s("kernel_shape", [1, 1])]
    layer = ir.Node("", "Conv", inputs, attributes, num_outputs=1)
    graph.insert_before(node, layer)
    return layer


def _replace(graph: ir.Graph, node: ir.Node, by: ir.Node) -> None:
    old, new = node.outputs[0], by.outputs[0]
    new.name, old.name = old.name, None
    new.type, new.shape = old.type, old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
