"""TensorRT, for NVIDIA's Deep Learning Accelerator (DLA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeweave.targets.handoff.tools.tool import (
    NOT_VERIFIED,
    QDQ_MODEL,
    Recipe,
    Step,
    Tool,
    names,
)

if TYPE_CHECKING:
    import onnx

_RESULT = "stage.engine"
_FLOAT_MODEL, _CACHE = "stage_float.onnx", "stage.cache"
# TensorRT reads a cache of another version; this one is the default of NVIDIA's own translator.
_CACHE_HEAD = "TRT-8600-EntropyCalibration2"


def _recipe(model: onnx.ModelProto, vendor: Mapping[str, str]) -> Recipe:
    from edgeweave.targets.handoff.float_model import strip_quantisation

    stripped = strip_quantisation(model)
    command = f"--useDLACore={vendor['core']} --fp16 --saveEngine={_RESULT}"
    if not stripped.scales:
        return Recipe({}, (Step(f"trtexec --onnx={QDQ_MODEL} {command}", _RESULT),))
    files = {
        _FLOAT_MODEL: stripped.model.SerializeToString(deterministic=True),
        _CACHE: calibration_cache(stripped.scales).encode(),
    }
    borders = [
        f"--{role}IOFormats={','.join(['int8:dla_linear'] * len(values))}"
        for role, values in (("input", model.graph.input), ("output", model.graph.output))
    ]
    options = f"--int8 --calib={_CACHE} --precisionConstraints=prefer {' '.join(borders)}"
    remarks = [
        f"The DLA takes no QuantizeLinear and DequantizeLinear. {_FLOAT_MODEL} is the stage "
        f"without them, its weights as floats, and {_CACHE} holds its scales in TensorRT's form.",
        "There is no --allowGPUFallback: trtexec fails where the DLA does not take a layer.",
        "TensorRT 10.7 is the last release with the DLA of Jetson.",
    ]
    if stripped.shifted:
        remarks.append(
            f"{stripped.shifted} of {len(stripped.scales)} tensors have a zero point other than 0, "
            "which a calibration cache cannot hold. They got the least symmetric range that covers "
            "theirs, in coarser steps: what the DLA computes differs from the stage."
        )
    if stripped.conflicts:
        remarks.append(
            f"{stripped.conflicts} tensors are quantised twice, in two ranges; the cache holds the "
            "larger."
        )
    step = Step(f"trtexec --onnx={_FLOAT_MODEL} {options} {command}", _RESULT)
    return Recipe(files, (step,), tuple(remarks))


def calibration_cache(scales: Mapping[str, float]) -> str:
    """TensorRT's text: a line of each tensor with its scale, the bits of a float in hexadecimal."""
    import struct

    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items()]
    return "\n".join([_CACHE_HEAD, *lines, ""])


DLA = Tool(
    name="dla",
    title="TensorRT (trtexec)",
    sources=(
        "NVIDIA/Deep-Learning-Accelerator-SW, operators/README.md: ONNX operators, native on Orin",
        "TensorRT documentation, DLA Supported Layers and Restrictions: sizes, layers on Xavier",
        "NVIDIA/Deep-Learning-Accelerator-SW, tools/qdq-translator: Q/DQ models and the cache",
    ),
    verified=NOT_VERIFIED,
    # Native on Orin and among the layers that TensorRT lists for every DLA, on images alone:
    # Gemm, MatMul, Reshape, Slice, Softmax and Transpose are left out.
    operators=names(
        "Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose LeakyRelu Max "
        "MaxPool Mul PRelu Relu Resize Sigmoid Sub Tanh"
    ),
    recipe=_recipe,
    opset=17,
    ir_version=8,
    required={"core": ("0", "1")},
    takes_float16=True,
    ranks=(4, 4),
    largest_dimension=8192,
    limits=(
        "Convolutions: kernels up to 32, strides up to 8, up to 8192 channels.",
        "Transposed convolutions: no padding, groups or dilation.",
        "Concat along the channels only; the PRelu slope is a constant.",
    ),
)
