"""ONNX operators that a stage for an Ethos-U may hold, and the TFLite operators they become.

What Vela says of each TFLite operator is in constraints.json, per architecture:
scripts/gen_ethos_u_constraints.py writes it from the installed Vela.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

# ONNX operator -> the TFLite operators that can be its form; which, the emitter decides by
# attributes and shapes. None: it is a view of the same numbers, or part of the operator beside it.
OPERATORS: Mapping[str, tuple[str, ...]] = {
    "DequantizeLinear": (),
    "QuantizeLinear": (),
    "Add": ("ADD",),
    "AveragePool": ("AVERAGE_POOL_2D",),
    "Clip": ("RELU", "RELU6", "MAXIMUM", "MINIMUM"),
    "Concat": ("CONCATENATION",),
    "Conv": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "ConvTranspose": ("TRANSPOSE_CONV",),
    "Div": ("MUL",),
    "Exp": ("EXP",),
    "Expand": ("TILE",),
    "Flatten": (),
    "Gemm": ("CONV_2D",),
    "GlobalAveragePool": ("MEAN",),
    "HardSigmoid": ("DEPTHWISE_CONV_2D", "CONV_2D"),
    "HardSwish": ("HARD_SWISH",),
    "Identity": (),
    "LeakyRelu": ("LEAKY_RELU",),
    "MatMul": ("CONV_2D", "BATCH_MATMUL"),
    "MaxPool": ("MAX_POOL_2D",),
    "Mul": ("MUL",),
    "PRelu": ("PRELU",),
    "Pad": ("PAD", "PADV2", "MIRROR_PAD"),
    "ReduceMax": ("REDUCE_MAX",),
    "ReduceMean": ("MEAN",),
    "Relu": ("RELU", "MAXIMUM"),
    "Reshape": (),
    "Resize": ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"),
    "Sigmoid": ("LOGISTIC",),
    "Slice": ("SLICE", "STRIDED_SLICE"),
    "Softmax": ("SOFTMAX",),
    "Split": ("SLICE",),
    "Squeeze": (),
    "Sub": ("SUB",),
    "Tanh": ("TANH",),
    "Transpose": ("TRANSPOSE",),
    "Unsqueeze": (),
}


def vela_operators(architecture: str) -> Mapping[str, tuple[str, ...]]:
    """TFLite operators that Vela can place on the architecture, with what it asks of each."""
    table = _constraints()
    sentences = table["sentences"]
    return {
        name: tuple(sentences[number] for number in numbers)
        for name, numbers in table[architecture].items()
    }


def constraints_version() -> str:
    """The version of Vela that the table was made from."""
    return str(_constraints()["vela"])


@cache
def _constraints() -> dict[str, Any]:
    text = files("edgeweave.targets.npu_ethos_u") / "constraints.json"
    found: dict[str, Any] = json.loads(text.read_text(encoding="utf-8"))
    return found
