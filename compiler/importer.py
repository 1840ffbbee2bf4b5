"""TVM's ONNX importer, with better formulas for operators whose own lose precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import onnx
from tvm import IRModule, relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import from_onnx, onnx_frontend

Converter = type[onnx_frontend.OnnxOpConverter]


class Softplus(onnx_frontend.OnnxOpConverter):  # type: ignore[misc] # TVM publishes no types
    """max(x, 0) + log(1 + e), e = exp(-|x|), by the series of the logarithm where e is small.

    TVM takes the logarithm of a rounded 1 + e, which drops all of a small e: far below zero the
    result is then 0. Kahan's log(u) e / (u - 1) does not help: inlining simplifies u - 1 to e.
    """

    @classmethod
    def _impl_v1(cls, _builder: Any, inputs: Any, _attributes: Any, _params: Any) -> Any:
        x, dtype = inputs[0], inputs[0].ty.dtype
        one, bound = relax.const(1, dtype), relax.const(_SMALL.get(dtype, 0.01), dtype)
        e = relax.op.exp(relax.op.negative(relax.op.abs(x)))
        series = relax.const(1 / 4, dtype)
        for divisor in (3, 2, 1):
            lower = relax.const(1 / divisor, dtype)
            series = relax.op.subtract(lower, relax.op.multiply(e, series))
        log1p = relax.op.where(
            relax.op.less(e, bound),
            relax.op.multiply(e, series),
            relax.op.log(relax.op.add(one, e)),
        )
        return relax.op.add(relax.op.maximum(x, relax.const(0, dtype)), log1p)


# Below these the series is exact to the type's precision, above them the logarithm is good.
_SMALL = {"float16": 0.2, "float32": 0.01, "float64": 1e-4}


class Mish(onnx_frontend.OnnxOpConverter):  # type: ignore[misc]
    """x q / (q + 2), q = e (e + 2), e = exp(x): x tanh(log(1 + e)) without logarithm and tanh."""

    @classmethod
    def _impl_v18(cls, _builder: Any, inputs: Any, _attributes: Any, _params: Any) -> Any:
        x = inputs[0]
        dtype = x.ty.dtype
        two = relax.const(2, dtype)
        # above the cap the factor is 1 to the last bit, and below it q does not overflow
        cap = relax.const(5.0 if dtype == "float16" else 20.0, dtype)
        e = relax.op.exp(relax.op.minimum(x, cap))
        q = relax.op.multiply(e, relax.op.add(e, two))
        return relax.op.multiply(x, relax.op.divide(q, relax.op.add(q, two)))


class ReduceLogSumExp(onnx_frontend.OnnxOpConverter):  # type: ignore[misc]
    """log(sum(exp(x - m))) + m, m = max(x) where that is finite and 0 where it is infinite.

    TVM subtracts an infinite maximum from itself: a row of nothing but -inf becomes NaN.
    """

    @classmethod
    def _impl_v13(cls, _builder: Any, inputs: Any, attributes: Any, _params: Any) -> Any:
        return _log_sum_exp(inputs[0], attributes.get("axes"), attributes.get("keepdims", 1))

    @classmethod
    def _impl_v18(cls, _builder: Any, inputs: Any, attributes: Any, params: Any) -> Any:
        axes = None
        if len(inputs) > 1 and inputs[1] is not None:
            constant = onnx_frontend.get_constant(inputs[1], params)
            if not isinstance(constant, GenericConst):
                raise ValueError("ReduceLogSumExp needs constant axes")
            axes = constant.value.numpy().tolist()
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return inputs[0]
        return _log_sum_exp(inputs[0], axes or None, attributes.get("keepdims", 1))


def _log_sum_exp(x: Any, axes: Any, keepdims: int) -> Any:
    largest = relax.op.max(x, axes, keepdims=True)
    shift = relax.op.where(relax.op.isinf(largest), relax.const(0, x.ty.dtype), largest)
    total = relax.op.sum(relax.op.exp(relax.op.subtract(x, shift)), axes, keepdims=True)
    result = relax.op.add(relax.op.log(total), shift)
    return result if keepdims else relax.op.squeeze(result, axes)


# Half-precision operands of these are widened, as ONNX Runtime does: sums and long formulas lose
# too much in 16 bits, and a CPU computes 32 as fast.
_IN_FLOAT32 = frozenset(
    "AveragePool BatchNormalization Conv ConvTranspose CumSum Einsum Elu Erf Exp Gelu Gemm "
    "GlobalAveragePool GroupNormalization HardSigmoid HardSwish InstanceNormalization LRN "
    "LayerNormalization Log LogSoftmax MatMul Mean MeanVarianceNormalization Mish Pow "
    "RMSNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceProd "
    "ReduceSum ReduceSumSquare Selu Sigmoid Softmax Softplus Softsign Sqrt Tanh".split()
)


def _widened(converter: Converter) -> Converter:
    """The converter, computing in float32 where its inputs are float16."""

    class Widened(onnx_frontend.OnnxOpConverter):  # type: ignore[misc]
        @classmethod
        def get_converter(cls, opset: int) -> Callable[..., Any]:
            convert = converter.get_converter(opset)

            def widened(builder: Any, inputs: Any, attributes: Any, params: Any) -> Any:
                if not any(_is_half(value) for value in inputs):
                    return convert(builder, inputs, attributes, params)
                wide = [
                    builder.normalize(relax.op.astype(v, "float32")) if _is_half(v) else v
                    for v in inputs
                ]
                return _narrowed(builder, convert(builder, wide, attributes, params))

            return widened

    return Widened


def _narrowed(builder: Any, result: Any) -> Any:
    if isinstance(result, relax.Tuple):
        return relax.Tuple([_narrowed(builder, field) for field in result.fields])
    return relax.op.astype(builder.normalize(result), "float16")


def _is_half(value: Any) -> bool:
    return getattr(getattr(value, "ty", None), "dtype", None) == "float16"


_their_map: Callable[[], dict[str, Converter]] = onnx_frontend._get_convert_map


@cache
def _our_map() -> dict[str, Converter]:
    ours = _their_map() | {
        "Mish": Mish,
        "ReduceLogSumExp": ReduceLogSumExp,
        "Softplus": Softplus,
    }
    return ours | {name: _widened(ours[name]) for name in _IN_FLOAT32}


# the importer has no other way to take a converter
onnx_frontend._get_convert_map = _our_map


def import_onnx(proto: onnx.ModelProto) -> IRModule:
    """The Relax module of a model; its inputs keep their names. Raises what TVM raises."""
    return from_onnx(proto, sanitize_input_names=False)
