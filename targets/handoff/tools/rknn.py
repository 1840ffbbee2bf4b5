"""RKNN-Toolkit2, for the NPUs of Rockchip's chips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeweave.targets.handoff.tools.tool import (
    FLOAT_BORDER_MODEL,
    QDQ_MODEL,
    Recipe,
    Step,
    Tool,
    names,
)

if TYPE_CHECKING:
    import onnx

_RESULT = "stage.rknn"
_SCRIPT = '''\
"""Compile {model} for {platform}; needs RKNN-Toolkit2 on this machine."""

import sys

from rknn.api import RKNN

rknn = RKNN(verbose=True)
rknn.config({settings})
for step in (
    lambda: rknn.load_onnx(model="{model}"),
    # the scales and zero points are those of the model
    lambda: rknn.build(do_quantization=False),
    lambda: rknn.export_rknn("{result}"),
):
    if step() != 0:
        sys.exit("RKNN-Toolkit2 failed; its own message stands above")
rknn.release()
'''


def _recipe(model: onnx.ModelProto, vendor: Mapping[str, str]) -> Recipe:
    from edgeweave.targets.handoff.float_borders import has_quantised_borders, with_float_borders

    platform, core = vendor["target_platform"], vendor.get("core")
    settings = f'target_platform="{platform}"'
    remarks = []
    if core is not None:
        settings += ", single_core_mode=True"
        remarks.append(
            f"The engine is core {core}: give rknn_set_core_mask (C) or init_runtime (Python) "
            f"RKNN_NPU_CORE_{core} / NPU_CORE_{core} where the file is loaded."
        )
    files, name = {}, QDQ_MODEL
    if has_quantised_borders(model):
        name = FLOAT_BORDER_MODEL
        files[name] = with_float_borders(model).SerializeToString(deterministic=True)
        remarks.append(
            f"{name} is {QDQ_MODEL} with floats at its border, the form that was run. On the "
            "board pass quantised values through: pass_through = 1 for inputs, want_float = 0 for "
            "outputs."
        )
    script = _SCRIPT.format(model=name, platform=platform, settings=settings, result=_RESULT)
    files["convert.py"] = script.encode()
    return Recipe(files, (Step("python convert.py", _RESULT),), tuple(remarks))


RKNN = Tool(
    name="rknn",
    title="RKNN-Toolkit2",
    sources=(
        "airockchip/rknn-toolkit2, doc/RKNNToolKit2_OP_Support-v2.1.0.md: operators and opset",
        "airockchip/rknn-toolkit2, CHANGELOG.md: ONNX opset 12 to 19, quantised ONNX models",
        "RKNN API reference, rknn.config: target_platform, single_core_mode (RK3588 only)",
    ),
    verified=(
        "The calls of convert.py were run with RKNN-Toolkit2 2.5.0 on small quantised models with "
        "floats at their border; its simulator was within one step of ONNX Runtime. "
        "Not verified here: this stage, and any run on a device."
    ),
    # Pad is listed too, but a Pad before a convolution ends the toolkit 2.5.0 with an exception.
    operators=names(
        "Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose DepthToSpace Elu "
        "Flatten Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish LeakyRelu MatMul "
        "Max MaxPool Min Mul PRelu ReduceMax ReduceMean ReduceMin Relu Reshape Sigmoid Slice "
        "Softmax SpaceToDepth Split Squeeze Sub Tanh Transpose Unsqueeze"
    ),
    recipe=_recipe,
    opset=19,
    ir_version=8,
    required={
        "target_platform": ("rk3562", "rk3566", "rk3568", "rk3576", "rk3588", "rv1126b"),
    },
    optional={"core": ("0", "1", "2")},
    takes_float16=True,
    single_batch=frozenset({"Slice", "Softmax"}),
    limits=("Limits of kernels and strides: RKNN_Compiler_Support_Operator_List of the toolkit.",),
)
