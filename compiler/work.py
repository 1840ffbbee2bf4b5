"""How much arithmetic an ONNX node does, from its shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx

from edgeweave.compiler.graph import GraphView

# Nodes that compute nothing: they move or rename data.
_FREE = frozenset(
    "Identity Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather GatherND "
    "GatherElements Pad Tile Expand Shape Size Constant ConstantOfShape Cast CastLike "
    "DepthToSpace SpaceToDepth ScatterND ScatterElements Dropout Compress OneHot Range".split()
)
# Operations per output element of functions that the hardware does not have as one instruction.
# They only rank regions for the roofline; a measured cost replaces them.
_PER_ELEMENT = {
    "Sigmoid": 10, "Tanh": 10, "Exp": 8, "Log": 8, "Erf": 12, "Gelu": 14, "Pow": 16, "Sqrt": 4,
    "HardSwish": 4, "HardSigmoid": 3, "PRelu": 2, "LeakyRelu": 2, "Clip": 2, "Softplus": 16,
    "Mish": 24, "Elu": 10, "Selu": 10, "Sin": 12, "Cos": 12, "Div": 4, "Mod": 8,
    "QuantizeLinear": 4, "DequantizeLinear": 2, "BatchNormalization": 2,
}  # fmt: skip
_PER_INPUT = {
    "Softmax": 12, "LogSoftmax": 14, "LayerNormalization": 8, "InstanceNormalization": 6,
    "GroupNormalization": 6, "LpNormalization": 4, "TopK": 16, "CumSum": 1, "NonZero": 2,
    "GlobalAveragePool": 1, "GlobalMaxPool": 1, "ArgMax": 2, "ArgMin": 2, "Hardmax": 4,
}  # fmt: skip


def flops(view: GraphView, node: onnx.NodeProto) -> int:
    """Arithmetic operations of one run of the node, a multiply-add counted as two.

    0 where a shape is not known, and for nodes that only move data.
    """
    if node.op_type in _FREE:
        return 0
    out = _elements(view, node.output[0]) if node.output else None
    if out is None:
        return 0
    if counter := _COUNTERS.get(node.op_type):
        return counter(view, node, out)
    if node.op_type in _PER_INPUT or node.op_type.startswith("Reduce"):
        return _PER_INPUT.get(node.op_type, 1) * (_elements(view, node.input[0]) or 0)
    return _PER_ELEMENT.get(node.op_type, 1) * out


def _elements(view: GraphView, name: str) -> int | None:
    shape = view.shape(name)
    return None if shape is None else math.prod(shape)


def _attribute(node: onnx.NodeProto, name: str) -> list[int]:
    return next((list(a.ints) or [a.i] for a in node.attribute if a.name == name), [])


def _conv(view: GraphView, node: onnx.NodeProto, out: int) -> int:
    weight = view.shape(node.input[1])
    # OIHW: each output element reads the weights of one output channel.
    return 0 if weight is None else 2 * out * math.prod(weight[1:])


def _conv_transpose(view: GraphView, node: onnx.NodeProto, _out: int) -> int:
    weight = view.shape(node.input[1])
    # IOHW: each input element is spread over the weights of one input channel.
    inputs = _elements(view, node.input[0])
    return 0 if weight is None or inputs is None else 2 * inputs * math.prod(weight[1:])


def _matmul(view: GraphView, node: onnx.NodeProto, out: int) -> int:
    left = view.shape(node.input[0])
    return 2 * out * left[-1] if left else 0


def _gemm(view: GraphView, node: onnx.NodeProto, out: int) -> int:
    left = view.shape(node.input[0])
    if not left:
        return 0
    return 2 * out * left[0 if _attribute(node, "transA") == [1] else -1]


def _pool(_view: GraphView, node: onnx.NodeProto, out: int) -> int:
    return out * math.prod(_attribute(node, "kernel_shape") or [1])


def _resize(_view: GraphView, node: onnx.NodeProto, out: int) -> int:
    mode = next((a.s for a in node.attribute if a.name == "mode"), b"nearest")
    return {b"linear": 8, b"cubic": 32}.get(mode, 1) * out


def _recurrent(gates: int) -> Callable[[GraphView, onnx.NodeProto, int], int]:
    def count(view: GraphView, node: onnx.NodeProto, _out: int) -> int:
        x, w, r = (view.shape(node.input[i]) for i in range(3))
        if not (x and w and r):
            return 0
        steps = x[0] * x[1]
        return 2 * steps * (math.prod(w) + math.prod(r)) + 10 * steps * gates * r[-1]

    return count


_COUNTERS: dict[str, Callable[[GraphView, onnx.NodeProto, int], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "Resize": _resize,
    "Upsample": _resize,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
}
