"""Bounds on a result: Relu and Clip as int8 numbers, and TFLite's activations that keep them."""

from __future__ import annotations

from edgeweave.targets.npu_ethos_u.emit.quantized import INT8, Operator, Quantisation

ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}  # TFLite's own numbers


def numbers_within(operator: Operator) -> tuple[int, int]:
    """The least and the greatest int8 number that the operator's bounds leave."""
    if operator.bounds is None:
        return INT8
    quantisation = operator.output.quantisation
    low, high = (quantisation.number(bound) for bound in operator.bounds)
    return low, high


def reach(activation: str, quantisation: Quantisation) -> tuple[int, int]:
    """The least and the greatest number after one of TFLite's activations."""
    zero, low, high = quantisation.zero_point, *INT8
    return {
        "NONE": (low, high),
        "RELU": (max(low, zero), high),
        "RELU_N1_TO_1": (quantisation.number(-1), quantisation.number(1)),
        "RELU6": (max(low, zero), quantisation.number(6)),
    }[activation]


def fused_activation(operator: Operator) -> str:
    """The activation that keeps the operator's bounds; NONE where no activation does that."""
    limits = numbers_within(operator)
    quantisation = operator.output.quantisation
    return next((name for name in ACTIVATIONS if reach(name, quantisation) == limits), "NONE")
