"""The part of a Softmax's operand that says something."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

_STEPS = 256  # of an int8 result


class Peaks:
    """The least of the greatest numbers that any Softmax saw in one of its rows.

    A number far below the greatest of its row adds nothing to the result in int8, however low it
    is: a row of n whose others are all ln(256 n) below has a sum that is off by less than a step.
    The steps of the operand are for what lies above.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._nodes = [n for n in proto.graph.node if n.op_type == "Softmax" and not n.domain]
        self._least: dict[str, float] = {}
        self._producer = {name: n for n in proto.graph.node for name in n.output}
        self._outputs = {info.name for info in proto.graph.output}
        reads = Counter(name for n in proto.graph.node for name in n.input)
        self._once = {name for name, count in reads.items() if count == 1}
        self._weights = {tensor.name: tensor for tensor in proto.graph.initializer}

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """Take in the values of one frame."""
        for node in self._nodes:
            value = values.get(node.input[0])
            if value is None or not value.size:
                continue
            axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
            least = float(value.max(axis).min()) - math.log(_STEPS * value.shape[axis])
            name = node.input[0]
            self._least[name] = min(self._least.get(name, math.inf), least)

    def cut(self, ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """The ranges, without what is too low to matter to the one Softmax that reads a value."""
        result = dict(ranges)
        for name, least in self._least.items():
            factor = 1.0
            while self._is_private(name):
                low, high = result[name]
                bound = least / factor
                # not past zero, which every range holds
                low, high = (
                    (max(low, min(bound, 0.0)), high)
                    if factor > 0
                    else (low, min(high, max(bound, 0.0)))
                )
                result[name] = (low, high)
                before = self._scaled(name)
                if before is None:
                    break
                name, factor = before[0], factor * before[1]
        return result

    def _is_private(self, name: str) -> bool:
        return name in self._once and name not in self._outputs and name in self._producer

    def _scaled(self, name: str) -> tuple[str, float] | None:
        """The value that ``name`` is a constant multiple of, and the factor."""
        node = self._producer[name]
        if node.op_type not in ("Mul", "Div") or node.input[1] not in self._weights:
            return None
        number = numpy_helper.to_array(self._weights[node.input[1]])
        if number.size != 1 or not number.any():
            return None
        factor = float(number.reshape(-1)[0])
        return node.input[0], factor if node.op_type == "Mul" else 1 / factor
