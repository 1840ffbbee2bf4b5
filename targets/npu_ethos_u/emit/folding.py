"""Changes to the graph that save the accelerator work and change no number."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from edgeweave.targets.npu_ethos_u.emit.arithmetic import FLATTENED
from edgeweave.targets.npu_ethos_u.emit.quantized import (
    Constant,
    Operator,
    QuantizedGraph,
    Value,
)

_FLATTENING = ("Flatten", "Reshape", "Squeeze")


def fold(graph: QuantizedGraph) -> QuantizedGraph:
    """Operators that nobody reads are gone; an image that a matrix product flattens stays one."""
    graph = replace(graph, operators=_read(graph))
    makers = {operator.output.name: operator for operator in graph.operators}
    readers = Counter(
        operand.name
        for operator in graph.operators
        for operand in operator.inputs
        if isinstance(operand, Value)
    )
    readers.update(border.name for border in graph.outputs)
    folded = []
    for operator in graph.operators:
        if operator.kind in ("Gemm", "MatMul"):
            operator = _unflattened(operator, makers, readers)
        folded.append(operator)
    graph = replace(graph, operators=tuple(folded))
    return replace(graph, operators=_read(graph))


def _read(graph: QuantizedGraph) -> tuple[Operator, ...]:
    wanted = {border.name for border in graph.outputs}
    kept = []
    for operator in reversed(graph.operators):
        if operator.output.name in wanted:
            kept.append(operator)
            wanted.update(o.name for o in operator.inputs if isinstance(o, Value))
    return tuple(reversed(kept))


def _unflattened(
    operator: Operator, makers: dict[str, Operator], readers: Counter[str]
) -> Operator:
    """The product on the image itself, its weights in the order in which the image lies.

    An image (1, C, H, W) becomes a row in that order; the tensor lies as (H, W, C), and moving the
    weights is free.
    """
    row, weights = operator.inputs[:2]
    if not isinstance(row, Value) or not isinstance(weights, Constant):
        return operator
    maker = makers.get(row.name)
    if maker is None or maker.kind not in _FLATTENING or maker.bounds or readers[row.name] > 1:
        return operator
    image = maker.inputs[0]
    if not isinstance(image, Value) or len(image.shape) != 4 or len(row.shape) != 2:
        return operator
    if image.quantisation != row.quantisation or row.shape[0] != image.shape[0]:
        return operator
    axis = 1 if operator.attributes.get("transB") else 0
    places = np.arange(row.shape[1]).reshape(image.shape[1:]).transpose(1, 2, 0).reshape(-1)
    moved = replace(weights, numbers=weights.numbers.take(places, axis))
    inputs = (image, moved, *operator.inputs[2:])
    return replace(operator, inputs=inputs, attributes={**operator.attributes, FLATTENED: 1})
