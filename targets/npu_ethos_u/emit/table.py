"""Which function writes which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeweave.targets.npu_ethos_u.emit.activations import (
    emit_bounded,
    emit_function,
    emit_hard_sigmoid,
    emit_leaky_relu,
    emit_prelu,
    emit_requantise,
    emit_softmax,
)
from edgeweave.targets.npu_ethos_u.emit.arithmetic import emit_elementwise, emit_matrix_product
from edgeweave.targets.npu_ethos_u.emit.convolutions import emit_conv, emit_conv_transpose
from edgeweave.targets.npu_ethos_u.emit.emission import Emission
from edgeweave.targets.npu_ethos_u.emit.movement import (
    emit_concat,
    emit_expand,
    emit_pad,
    emit_reshape,
    emit_slice,
    emit_split,
    emit_transpose,
)
from edgeweave.targets.npu_ethos_u.emit.pooling import (
    emit_average_pool,
    emit_global_average,
    emit_max_pool,
    emit_reduction,
)
from edgeweave.targets.npu_ethos_u.emit.quantized import REQUANTISE, Operator
from edgeweave.targets.npu_ethos_u.emit.resizing import emit_resize

EMITTERS: Mapping[str, Callable[[Emission, Operator], None]] = {
    REQUANTISE: emit_requantise,
    "Add": emit_elementwise,
    "AveragePool": emit_average_pool,
    "Clip": emit_bounded,
    "Concat": emit_concat,
    "Conv": emit_conv,
    "ConvTranspose": emit_conv_transpose,
    "Div": emit_elementwise,
    "Exp": emit_function,
    "Expand": emit_expand,
    "Flatten": emit_reshape,
    "Gemm": emit_matrix_product,
    "GlobalAveragePool": emit_global_average,
    "HardSigmoid": emit_hard_sigmoid,
    "HardSwish": emit_function,
    "Identity": emit_reshape,
    "LeakyRelu": emit_leaky_relu,
    "MatMul": emit_matrix_product,
    "MaxPool": emit_max_pool,
    "Mul": emit_elementwise,
    "PRelu": emit_prelu,
    "Pad": emit_pad,
    "ReduceMax": emit_reduction,
    "ReduceMean": emit_reduction,
    "Relu": emit_bounded,
    "Reshape": emit_reshape,
    "Resize": emit_resize,
    "Sigmoid": emit_function,
    "Slice": emit_slice,
    "Softmax": emit_softmax,
    "Split": emit_split,
    "Squeeze": emit_reshape,
    "Sub": emit_elementwise,
    "Tanh": emit_function,
    "Transpose": emit_transpose,
    "Unsqueeze": emit_reshape,
}

SUPPORTED: tuple[str, ...] = (
    "DequantizeLinear",
    "QuantizeLinear",
    *sorted(kind for kind in EMITTERS if kind != REQUANTISE),
)
"""The ONNX operators that can be written; what else must hold is in ``refusals.RULES``."""
