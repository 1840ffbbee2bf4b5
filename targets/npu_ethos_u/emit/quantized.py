"""A stage as operators on quantised values: what the reader makes of a QDQ model.

Everything is int8 here. A value that is uint8 in the model is the same numbers less 128, and its
zero point too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

INT8 = (-128, 127)
REQUANTISE = "Requantise"  # not of ONNX: a value that is dequantised and quantised again


@dataclass(frozen=True)
class Quantisation:
    """A real value is ``scale * (number - zero_point)``; the numbers are int8."""

    scale: float
    zero_point: int

    def numbers(self, real: NDArray[Any]) -> NDArray[np.int8]:
        """The int8 numbers of real values: the nearest, halves to even, as ONNX rounds."""
        scaled = real.astype(np.float32) / np.float32(self.scale)
        numbers = np.clip(np.rint(scaled) + self.zero_point, *INT8)
        return np.asarray(numbers, np.int8)

    def number(self, real: float) -> int:
        """The int8 number of one real value."""
        return int(self.numbers(np.array(real)))


@dataclass(frozen=True)
class Value:
    """An int8 value that one operator makes and others read; the shape is ONNX's."""

    name: str
    shape: tuple[int, ...]
    quantisation: Quantisation


@dataclass(frozen=True, eq=False)
class Constant:
    """A quantised constant: int8 numbers, or the int32 ones of a bias.

    There is one scale, or one for each place along ``axis``.
    """

    name: str
    numbers: NDArray[Any]
    scales: NDArray[np.float32]
    zero_point: int
    axis: int

    def real(self) -> NDArray[np.float64]:
        """The real values."""
        shape = [1] * self.numbers.ndim
        if self.scales.size > 1:
            shape[self.axis] = self.scales.size
        scales = self.scales.astype(np.float64).reshape(shape)
        return np.asarray((self.numbers.astype(np.float64) - self.zero_point) * scales)

    def requantised(self, quantisation: Quantisation) -> Constant:
        """The constant's real values at one other scale and zero point."""
        numbers = quantisation.numbers(self.real())
        scales = np.array([quantisation.scale], np.float32)
        return Constant(self.name, numbers, scales, quantisation.zero_point, 0)


Operand = Value | Constant | NDArray[Any] | None
"""What an operator reads: a value, a quantised constant, a plain one, or nothing."""


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator between quantised values.

    ``bounds`` are the least and the greatest real value of its result, where Relu or Clip follow.
    ``part`` tells the results of one ONNX node apart: each has an operator of its own.
    """

    kind: str
    name: str
    inputs: tuple[Operand, ...]
    output: Value
    attributes: Mapping[str, Any] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    part: int = 0
    opset: int = 13

    def value(self, place: int) -> Value:
        """The input at ``place``, which must be a value."""
        operand = self.inputs[place]
        if not isinstance(operand, Value):
            raise Refused("ethos-u.quantised", f"{self} reads no quantised value at {place}")
        return operand

    def plain(self, place: int) -> NDArray[Any] | None:
        """The plain or dequantised constant at ``place``; None where there is none."""
        operand = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(operand, Value):
            raise Refused("ethos-u.constant", f"{self} computes {operand.name} as it runs")
        return operand.real() if isinstance(operand, Constant) else operand

    def integers(self, place: int) -> list[int] | None:
        """The constant at ``place`` as integers: a shape, axes or bounds."""
        numbers = self.plain(place)
        return None if numbers is None else [int(number) for number in numbers.reshape(-1)]

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Border:
    """A tensor at the stage's border: ``dtype`` is the model's own, ``int8`` or ``uint8``."""

    name: str
    dtype: str
    value: Value


@dataclass(frozen=True)
class QuantizedGraph:
    """A stage: its operators in the order they run."""

    operators: tuple[Operator, ...]
    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
