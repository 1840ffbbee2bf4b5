"""A float model with QuantizeLinear and DequantizeLinear around what computes in int8."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import onnx

from edgeweave.compiler.graph import GraphView
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.order import in_order
from edgeweave.compiler.quantize.ranges import Ranges
from edgeweave.compiler.quantize.scales import shared_ranges
from edgeweave.compiler.quantize.select import select_nodes
from edgeweave.compiler.quantize.silence import silenced

_QUANTISED = frozenset("QuantizeLinear DequantizeLinear".split())


def is_quantised(model: Model) -> bool:
    """Whether the model says itself what is int8."""
    return any(node.op_type in _QUANTISED for node in model.proto.graph.node)


def insert_qdq(
    view: GraphView, ranges: Ranges, keep_float: Collection[str] = ()
) -> onnx.ModelProto | None:
    """A prepared model in int8, but for the nodes whose names are in ``keep_float``.

    Values have one scale each and weights one per channel; biases are int32. None where nothing is
    left to quantise.
    """
    nodes = select_nodes(view, keep_float)
    if not nodes:
        return None
    from onnxruntime.quantization import (
        CalibrationMethod,
        QDQQuantizer,
        QuantType,
        TensorsData,
    )

    given = {
        name: (np.array(low, np.float32), np.array(high, np.float32))
        for name, (low, high) in shared_ranges(view, nodes, ranges).items()
    }
    copy = onnx.ModelProto()
    copy.CopyFrom(view.proto)
    with silenced():
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, given),
            nodes_to_quantize=[view.nodes[p].name for p in nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({view.nodes[p].op_type for p in nodes}),
            extra_options={
                # which nodes are worth it is decided already
                "ForceQuantizeNoInputCheck": True,
                "TensorQuantOverrides": dict(_overrides(view, nodes, given)),
            },
        )
        return in_order(quantizer.quantize_model())


def _overrides(
    view: GraphView, nodes: Collection[int], ranges: dict[str, tuple[Any, Any]]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What ONNX Runtime would choose otherwise."""
    for position in nodes:
        node = view.nodes[position]
        if node.op_type == "Softmax":
            low, high = ranges[node.output[0]]
            yield node.output[0], [{"rmin": low, "rmax": high}]
        if node.op_type == "PRelu" and node.input[1] in view.initializers:
            yield node.input[1], [{"symmetric": True}]
        for name in _whole_weights(view, node):
            yield name, [{"symmetric": True}]


def _whole_weights(view: GraphView, node: onnx.NodeProto) -> Iterator[str]:
    """Weights that no axis of which can have scales: channels in groups, or not the last axis."""
    if node.op_type == "ConvTranspose":
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if groups > 1:
            yield node.input[1]
    if node.op_type == "MatMul":
        first, second = node.input
        if first in view.initializers:
            yield first
        if second in view.initializers and len(view.initializers[second].dims) != 2:
            yield second
