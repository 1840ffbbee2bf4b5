"""What is written so far, and the steps that all operators share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeweave.targets.npu_ethos_u.emit.bounds import numbers_within, reach
from edgeweave.targets.npu_ethos_u.emit.flatbuffer import FlatbufferWriter
from edgeweave.targets.npu_ethos_u.emit.layout import (
    Layout,
    Shape,
    channels_last,
    permuted,
    plain,
    reshaped,
    same_order,
)
from edgeweave.targets.npu_ethos_u.emit.quantized import (
    INT8,
    Constant,
    Operand,
    Operator,
    Quantisation,
    Value,
)
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

_COARSEST = 2  # steps of the wanted scale: off by one and a half of them at most


@dataclass(frozen=True)
class Placed:
    """A value of ``shape`` in a tensor of the model, where it lies as ``layout`` says."""

    tensor: int
    shape: Shape
    layout: Layout
    quantisation: Quantisation

    @property
    def lies(self) -> Shape:
        """The tensor's shape."""
        return permuted(self.shape, self.layout)


class Emission:
    """A TFLite model in the making. Nothing is written twice: equal steps give equal tensors."""

    def __init__(self) -> None:
        self.writer = FlatbufferWriter()
        self.values: dict[str, Placed] = {}
        self._made: dict[tuple[Any, ...], Placed] = {}

    def tensor(
        self,
        name: str,
        shape: Shape,
        layout: Layout,
        quantisation: Quantisation,
        dtype: str = "int8",
    ) -> Placed:
        """A new tensor for a value of ``shape``; the scale and zero point are those of int8."""
        shift = 128 if dtype == "uint8" else 0
        index = self.writer.tensor(
            name,
            permuted(shape, layout),
            dtype,
            [quantisation.scale],
            quantisation.zero_point + shift,
        )
        return Placed(index, shape, layout, quantisation)

    def integers(self, name: str, numbers: Sequence[int] | Sequence[Sequence[int]]) -> int:
        """A constant of 32-bit integers: a shape, axes, bounds."""
        return self.writer.constant(name, np.array(numbers, np.int32))

    def constant(
        self, name: str, numbers: NDArray[Any], layout: Layout, quantisation: Quantisation
    ) -> Placed:
        """A constant of int8 numbers, given as ONNX has it."""
        index = self.writer.constant(
            name,
            numbers.astype(np.int8).transpose(layout),
            [quantisation.scale],
            quantisation.zero_point,
        )
        return Placed(index, numbers.shape, layout, quantisation)

    def operator(
        self,
        code: str,
        inputs: Sequence[int],
        output: int,
        version: int = 1,
        options: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Append an operator with one result."""
        self.writer.operator(code, inputs, [output], version, options, fields)

    def read(self, operand: Operand, reader: Operator, layout: Layout | None = None) -> Placed:
        """An operand as an activation; constants lie as ``layout`` says, or else as ONNX has it."""
        if isinstance(operand, Value):
            return self.values[operand.name]
        if isinstance(operand, Constant) and operand.scales.size == 1 and _is_int8(operand):
            quantisation = Quantisation(float(operand.scales[0]), operand.zero_point)
            layout = layout or plain(operand.numbers.ndim)
            return self.constant(operand.name, operand.numbers, layout, quantisation)
        if isinstance(operand, np.ndarray) and operand.size == 1:
            return self._scalar(operand, reader, layout or plain(operand.ndim))
        raise Refused(
            "ethos-u.quantised", f"{reader} reads a constant that has not one scale in 8 bits"
        )

    def _scalar(self, number: NDArray[Any], reader: Operator, layout: Layout) -> Placed:
        real = float(number.reshape(-1)[0])
        if not np.isfinite(np.float32(real / 127)):
            raise Refused("ethos-u.quantised", f"{reader} reads the constant {real}")
        # the largest number of int8, so that the scale makes it exact
        quantisation = Quantisation(abs(real) / 127 or 1.0, 0)
        numbers = np.full(number.shape, 127 * np.sign(real), np.int8)
        return self.constant(f"{reader.output.name}/factor", numbers, layout, quantisation)

    def image(self, operand: Operand, reader: Operator) -> Placed:
        """An operand of rank 3 or 4 as (N, H, W, C); rank 3 has height 1."""
        placed = self.read(operand, reader)
        if len(placed.shape) == 3:
            batch, channels, width = placed.shape
            placed = self.reshaped(placed, (batch, channels, 1, width))
        return self.transposed(placed, channels_last(4))

    def transposed(self, placed: Placed, layout: Layout) -> Placed:
        """The same value in another layout."""
        if placed.layout == layout:
            return placed
        key = ("transposed", placed.tensor, placed.shape, placed.layout, layout)
        if key not in self._made:
            there = self.tensor("transposed", placed.shape, layout, placed.quantisation)
            if same_order(placed.shape, placed.layout, layout):
                self._reshape(placed, there)
            else:
                order = [placed.layout.index(axis) for axis in layout]
                axes = self.integers("order", order)
                inputs = [placed.tensor, axes]
                self.operator("TRANSPOSE", inputs, there.tensor, 2, "TransposeOptions")
            self._made[key] = there
        return self._made[key]

    def reshaped(self, placed: Placed, shape: Shape) -> Placed:
        """The same numbers in ONNX's order under another shape."""
        if placed.shape == shape:
            return placed
        layout = reshaped(placed.shape, placed.layout, shape)
        if layout is None:
            placed = self.transposed(placed, plain(len(placed.shape)))
            layout = plain(len(shape))
        return self.viewed(placed, shape, layout)

    def viewed(self, placed: Placed, shape: Shape, layout: Layout) -> Placed:
        """The tensor's numbers, as they lie, as a value of another shape and layout."""
        there = replace(placed, shape=shape, layout=layout)
        if there.lies == placed.lies:
            return there
        key = ("viewed", placed.tensor, shape, layout)
        if key not in self._made:
            there = self.tensor("reshaped", shape, layout, placed.quantisation)
            self._reshape(placed, there)
            self._made[key] = there
        return self._made[key]

    def _reshape(self, placed: Placed, there: Placed) -> None:
        size = self.integers("shape", there.lies)
        fields = {"newShape": list(there.lies)}
        inputs = [placed.tensor, size]
        self.operator("RESHAPE", inputs, there.tensor, 1, "ReshapeOptions", fields)

    def requantised(self, placed: Placed, quantisation: Quantisation) -> Placed:
        """The same value at another scale and zero point."""
        if placed.quantisation == quantisation:
            return placed
        key = ("requantised", placed.tensor, placed.shape, placed.layout, quantisation)
        if key not in self._made:
            there = self.tensor("requantised", placed.shape, placed.layout, quantisation)
            self.quantise(placed, there)
            self._made[key] = there
        return self._made[key]

    def quantise(self, placed: Placed, there: Placed) -> None:
        """Write one tensor's value into another at the latter's scale and zero point."""
        self.operator("QUANTIZE", [placed.tensor], there.tensor, 2, "QuantizeOptions")

    def result(self, operator: Operator, layout: Layout, shape: Shape | None = None) -> Placed:
        """A new tensor for an operator's result, at its own scale."""
        output = operator.output
        return self.tensor(output.name, shape or output.shape, layout, output.quantisation)

    def settle(self, operator: Operator, placed: Placed, fused: str = "NONE") -> None:
        """``placed`` is the operator's result, once it has the right shape, scale and bounds.

        ``fused`` is the activation that the TFLite operator had built in.
        """
        placed = self.reshaped(placed, operator.output.shape)
        placed = self.requantised(placed, operator.output.quantisation)
        limits = numbers_within(operator)
        if fused == "NONE" and limits != INT8:
            placed = self.bounded(placed, *limits)
        self.values[operator.output.name] = placed

    @staticmethod
    def check_fineness(operator: Operator, computed: Quantisation) -> None:
        """Refuse a result that TFLite rounds to steps of more than twice the wanted ones."""
        wanted = operator.output.quantisation.scale
        if computed.scale > _COARSEST * wanted:
            raise Refused(
                "ethos-u.fine-scale",
                f"{operator} is wanted in steps of {wanted:.3g}, TFLite has {computed.scale:.3g}",
            )

    def bounded(self, placed: Placed, low: int, high: int) -> Placed:
        """Numbers outside of ``low`` to ``high`` become the nearer of the two."""
        for code in ("RELU", "RELU6"):
            if reach(code, placed.quantisation) == (low, high):
                there = self.tensor(code.lower(), placed.shape, placed.layout, placed.quantisation)
                self.operator(code, [placed.tensor], there.tensor, 2)
                return there
        for code, number, end in (("MAXIMUM", low, INT8[0]), ("MINIMUM", high, INT8[1])):
            if number != end:
                numbers = np.full((1,) * len(placed.shape), number, np.int8)
                other = self.constant("bound", numbers, placed.layout, placed.quantisation)
                there = self.tensor(code.lower(), placed.shape, placed.layout, placed.quantisation)
                inputs = [placed.tensor, other.tensor]
                self.operator(code, inputs, there.tensor, 2, "MaximumMinimumOptions")
                placed = there
        return placed

    def padded(self, placed: Placed, pads: Sequence[tuple[int, int]], number: int) -> Placed:
        """``pads`` before and after each axis of the value, filled with the int8 ``number``."""
        if not any(before or after for before, after in pads):
            return placed
        key = ("padded", placed.tensor, placed.layout, tuple(pads), number)
        if key not in self._made:
            sizes = zip(placed.shape, pads, strict=True)
            shape = tuple(size + sum(ends) for size, ends in sizes)
            there = self.tensor("padded", shape, placed.layout, placed.quantisation)
            inputs = [placed.tensor, self.integers("pads", [pads[a] for a in placed.layout])]
            if number == placed.quantisation.zero_point:
                self.operator("PAD", inputs, there.tensor, 2, "PadOptions")
            else:
                fill = self.constant("fill", np.array([number]), (0,), placed.quantisation)
                inputs.append(fill.tensor)
                self.operator("PADV2", inputs, there.tensor, 2, "PadV2Options")
            self._made[key] = there
        return self._made[key]

    def sliced(self, placed: Placed, begins: Sequence[int], shape: Shape) -> Placed:
        """The part of ``shape`` that starts at ``begins``."""
        if shape == placed.shape:
            return placed
        there = self.tensor("part", shape, placed.layout, placed.quantisation)
        begin = self.integers("begin", [begins[axis] for axis in placed.layout])
        size = self.integers("size", there.lies)
        self.operator("SLICE", [placed.tensor, begin, size], there.tensor, 2, "SliceOptions")
        return there

    def joined(self, parts: Sequence[Placed], axis: int, there: Placed) -> None:
        """Write the parts, which have one layout and scale, one after the other into ``there``."""
        fields = {"axis": there.layout.index(axis)}
        inputs = [part.tensor for part in parts]
        self.operator("CONCATENATION", inputs, there.tensor, 2, "ConcatenationOptions", fields)


def _is_int8(constant: Constant) -> bool:
    return constant.numbers.dtype == np.int8 and INT8[0] <= constant.zero_point <= INT8[1]
