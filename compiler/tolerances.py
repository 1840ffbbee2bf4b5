"""How far an output may be from ONNX Runtime's: what rounding in another order explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgeweave.runtime.compare import Tolerance

# A step of a float output behind quantised layers that has no scale of its own.
_LEVELS = 127


@dataclass(frozen=True)
class Tolerances:
    """What the outputs of a model allow.

    ``quantised`` are outputs that hold quantised values; ``scales`` are the steps of outputs that
    are such values made floats, and ``inexact`` says that others stand behind quantised layers. A
    quantised value may be ``steps`` off: where a sum lies half-way between two, the order of its
    terms decides.
    """

    quantised: frozenset[str]
    scales: Mapping[str, float]
    inexact: bool
    steps: int

    @classmethod
    def of(cls, model: onnx.ModelProto, regions: int) -> Tolerances:
        """What a model of so many regions allows: a step for one, two behind several."""
        nodes = model.graph.node
        steps = 1 if regions == 1 else 2
        quantised = [node for node in nodes if node.op_type == "QuantizeLinear"]
        return cls(
            frozenset(name for node in quantised for name in node.output),
            output_scales(model) if quantised else {},
            bool(quantised),
            steps,
        )

    def of_output(self, name: str, wanted: Any) -> Tolerance:
        """What one output allows, given ONNX Runtime's."""
        array = np.asarray(wanted)
        if name in self.quantised:
            return Tolerance(0.0, 0.0, self.steps)
        if array.dtype.kind not in "fc":
            return Tolerance(0.0, 0.0)
        exact = rounding(array)
        if not self.inexact:
            return exact
        finite = np.abs(array[np.isfinite(array)])
        step = self.scales.get(name, float(finite.max(initial=0.0)) / _LEVELS)
        return Tolerance(atol=exact.atol + self.steps * step, rtol=exact.rtol)


def rounding(array: Any) -> Tolerance:
    """Rounding of a different order of the same sums, at the scale of the output."""
    finite = np.abs(array[np.isfinite(array)])
    scale = float(finite.max()) if finite.size else 1.0
    step = float(np.finfo(array.dtype).eps)
    if array.dtype.itemsize == 2:
        # ONNX Runtime sums up in float32 and rounds once; more than one step off is lost precision
        return Tolerance(atol=step * scale, rtol=step)
    return Tolerance(atol=64 * step * scale, rtol=max(1e-4, 8 * step))


def output_scales(model: onnx.ModelProto) -> dict[str, float]:
    """The step of each graph output that is a dequantised value, however it is shaped since."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for info in model.graph.output:
        node = makers.get(info.name)
        while node is not None and node.op_type in _MOVING:
            node = makers.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in tensors:
            continue
        found[info.name] = float(np.max(numpy_helper.to_array(tensors[node.input[1]])))
    return found


_MOVING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity")
