"""A float model in float16, with float32 inputs and outputs."""

from __future__ import annotations

import onnx

from edgeweave.compiler.frontend.refusal import one_line
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.order import in_order
from edgeweave.compiler.quantize.sessions import Session
from edgeweave.compiler.quantize.silence import silenced

# random numbers would be others, and scales of integers lose digits
_FLOAT_ONLY = (
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
)


def to_float16(proto: onnx.ModelProto, subject: str) -> onnx.ModelProto:
    """The model with float16 weights and values; its inputs and outputs keep their types.

    Operators for which ONNX has no float16 stay in float32, with conversions around them, and
    weights beyond the range of float16 take the nearest number it has. Raises QuantizeError where
    the result is no valid model, or none that ONNX Runtime runs.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    try:
        with silenced():
            half = convert_float_to_float16(
                copy, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_FLOAT_ONLY]
            )
        half = in_order(half)
        onnx.checker.check_model(half)
        Session(half)
    except Exception as error:
        raise QuantizeError(
            subject,
            f"cannot be converted to float16: {one_line(error)}",
            "Compile it without --quantize fp16",
        ) from error
    return half
