"""Weights and biases as TFLite wants them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeweave.targets.npu_ethos_u.emit.emission import Emission, Placed
from edgeweave.targets.npu_ethos_u.emit.quantized import Constant, Operator, Value
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

_INT32 = 2**31 - 1
_SAME_SCALE = 1e-5  # two scales this near, relative, differ by float32 rounding alone


@dataclass(frozen=True, eq=False)
class Kernel:
    """Int8 weights (output channels, input channels, height, width) with zero point 0.

    ``scales`` are one per output channel; ``bias`` are int32 at the scale of the products.
    """

    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]

    def part(self, outputs: slice) -> Kernel:
        """The kernel of some of the output channels."""
        return Kernel(self.weights[outputs], self.scales[outputs], self.bias[outputs])


def read_kernel(operator: Operator, x: Placed, weights: Constant, bias: int) -> Kernel:
    """The kernel with ``weights``, whose scales lie along axis 0, and the bias input's number."""
    outputs = weights.numbers.shape[0]
    scales = np.broadcast_to(weights.scales, (outputs,)).astype(np.float32)
    return Kernel(weights.numbers, scales, _read_bias(operator, bias, x, scales))


def read_weights(operator: Operator, place: int, outputs: int) -> Constant:
    """The constant int8 weights at an input, with the output channels along axis ``outputs``."""
    operand = operator.inputs[place]
    if not isinstance(operand, Constant) or operand.numbers.dtype != np.int8:
        raise Refused(
            "ethos-u.weights", f"the weights of {operator} are not constant 8-bit numbers"
        )
    if operand.zero_point != 0:
        raise Refused(
            "ethos-u.weights",
            f"the weights of {operator} have the zero point {operand.zero_point}",
        )
    if operand.scales.size > 1 and operand.axis != outputs:
        raise Refused(
            "ethos-u.weights",
            f"the weights of {operator} have scales along axis {operand.axis}, not {outputs}",
        )
    return operand


def _read_bias(
    operator: Operator, place: int, x: Placed, scales: NDArray[np.float32]
) -> NDArray[np.int32]:
    operand = operator.inputs[place] if place < len(operator.inputs) else None
    if isinstance(operand, Value):
        raise Refused("ethos-u.bias", f"the bias of {operator} is computed as it runs")
    products = np.float32(x.quantisation.scale) * scales
    if operand is None:
        return np.zeros(scales.size, np.int32)
    if isinstance(operand, Constant):
        close = np.isclose(operand.scales, products, rtol=_SAME_SCALE, atol=0)
        if operand.numbers.dtype == np.int32 and close.all() and operand.zero_point == 0:
            return np.broadcast_to(operand.numbers.reshape(-1), (scales.size,)).astype(np.int32)
        real = operand.real()
    else:
        real = operand.astype(np.float64)
    numbers = np.rint(real.reshape(-1) / products.astype(np.float64))
    if not (np.abs(numbers) <= _INT32).all():
        raise Refused("ethos-u.bias", f"the bias of {operator} is beyond 32 bits")
    return np.broadcast_to(numbers, (scales.size,)).astype(np.int32)


def place_kernel(
    emission: Emission, kernel: Kernel, x: Placed, name: str, depthwise: bool = False
) -> tuple[int, int]:
    """Weights and biases as tensors.

    Weights lie as (output, height, width, input), depthwise as (1, height, width, output).
    """
    order, axis = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
    scales = [float(scale) for scale in kernel.scales]
    weights = kernel.weights.transpose(order)
    products = np.float32(x.quantisation.scale) * kernel.scales
    return (
        emission.writer.constant(f"{name}/weights", weights, scales, 0, axis),
        emission.writer.constant(f"{name}/bias", kernel.bias, [float(p) for p in products]),
    )
