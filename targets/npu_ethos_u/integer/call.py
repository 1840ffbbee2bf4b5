"""One operator with what it reads and writes: what every kernel is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.fixed_point import Multiplier, multiply
from edgeweave.targets.npu_ethos_u.integer.model import Array, Tensor

_CHUNK = 1 << 16  # elements that are requantised at a time: their int64 stay in a cache


@dataclass(frozen=True)
class Call:
    """An operator, its inputs with their values, and its outputs; None for an input left out."""

    name: str
    options: Mapping[str, Any]
    inputs: tuple[Tensor | None, ...]
    values: tuple[Array | None, ...]
    outputs: tuple[Tensor, ...]

    @property
    def output(self) -> Tensor:
        """The first output; most operators have no other."""
        return self.outputs[0]

    def has(self, index: int) -> bool:
        """Whether the operator has that input."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int) -> Tensor:
        """An input that has to be there."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise self.refused(f"input {index} is missing")
        return tensor

    def value(self, index: int) -> Array:
        """The value of an input that has to be there."""
        self.tensor(index)
        value = self.values[index]
        assert value is not None
        return value

    def integers(self, index: int) -> list[int]:
        """The value of an input that is a list of integers: axes, a shape, begin and end."""
        return [int(v) for v in self.value(index).reshape(-1)]

    def refused(self, reason: str) -> TargetError:
        """The error that says what of this operator is not defined here."""
        return TargetError(f"operator {self.name} (writes {self.output.name})", reason)


Kernel = Callable[[Call], list[Array]]


def activation_limits(output: Tensor, activation: int) -> tuple[int, int]:
    """The least and greatest integer after a fused activation (the schema's numbers).

    0 none, 1 RELU, 2 RELU_N1_TO_1, 3 RELU6. The bounds are rounded in float32, half away from zero.
    """
    low, high = output.limits
    if activation == 0:
        return low, high
    bounds = {1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
    if activation not in bounds:
        raise TargetError(
            f"tensor {output.name}", f"fused activation {activation} is not known here"
        )
    least, greatest = bounds[activation]
    low = max(low, quantise_bound(output, least))
    return low, high if greatest is None else min(high, quantise_bound(output, greatest))


def quantise_bound(output: Tensor, bound: float) -> int:
    """The integer that stands for a real bound."""
    return output.zero_point + int(round_away(np.float32(bound) / output.scale))


def round_away(value: Any) -> Any:
    """Rounded to integers, halves away from zero, in the type that the value has: C's round."""
    whole = np.trunc(value)
    return whole + np.where(np.abs(value - whole) >= 0.5, np.sign(value), 0).astype(value.dtype)


def requantise(
    sums: Array, by: Multiplier, output: Tensor, limits: tuple[int, int] | None = None
) -> Array:
    """Sums as integers of the output: multiplied, moved to its zero point and clipped.

    A multiplier per channel is along the last axis of the sums.
    """
    out = np.empty(sums.shape, output.dtype)
    channels = by.mantissa.size
    flat, written = sums.reshape(-1, channels), out.reshape(-1, channels)
    rows = max(1, _CHUNK // channels)
    low, high = limits or output.limits
    for begin in range(0, len(flat), rows):
        part = multiply(flat[begin : begin + rows].astype(np.int64), by)
        part += output.zero_point
        written[begin : begin + rows] = np.clip(part, low, high, out=part)
    return out
