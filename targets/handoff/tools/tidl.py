"""TIDL, TI's compiler for the C7x with its matrix multiplier, by way of TI's ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeweave.targets.handoff.tools.tool import (
    FLOAT_BORDER_MODEL,
    NOT_VERIFIED,
    QDQ_MODEL,
    Recipe,
    Step,
    Tool,
    names,
)

if TYPE_CHECKING:
    import onnx

_RESULT = "stage_tidl"
# Devices that know symmetric quantisation only (tidl_fsg_quantization.md, A.1).
_SYMMETRIC_ONLY = ("am68pa",)
_SCRIPT = '''\
"""Compile {model} into {result}/; needs edgeai-tidl-tools, set up with SOC={soc}."""

import json
import os

import numpy as np
import onnxruntime

with open("compile_options.json") as file:
    options = json.load(file)
options["tidl_tools_path"] = os.environ["TIDL_TOOLS_PATH"]
os.makedirs(options["artifacts_folder"], exist_ok=True)
session = onnxruntime.InferenceSession(
    "{model}",
    providers=["TIDLCompilationProvider", "CPUExecutionProvider"],
    provider_options=[options, {{}}],
)
# The first runs compile. Ranges come from the model, so the values do not matter.
frame = {{value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()}}
for _ in range(options["advanced_options:calibration_frames"]):
    session.run(None, frame)
'''


def _recipe(model: onnx.ModelProto, vendor: Mapping[str, str]) -> Recipe:
    from edgeweave.targets.handoff.float_borders import (
        count_zero_points,
        has_quantised_borders,
        with_float_borders,
    )

    soc, name = vendor["soc"], QDQ_MODEL
    files, remarks = {}, []
    if has_quantised_borders(model):
        name = FLOAT_BORDER_MODEL
        files[name] = with_float_borders(model).SerializeToString(deterministic=True)
        remarks.append(
            f"{name} is {QDQ_MODEL} with floats at its border, as quantisers write such models."
        )
    shifted = count_zero_points(model)
    if shifted and soc in _SYMMETRIC_ONLY:
        remarks.append(
            f"{shifted} tensors of this stage have a zero point other than 0, and TI's document "
            f"says that {soc} knows symmetric quantisation only. Expect TIDL to refuse them or to "
            "take other ranges; compare its results with the stage's before you use them."
        )
    options = {
        "artifacts_folder": _RESULT,
        "platform": "J7",
        "tensor_bits": 8,
        "accuracy_level": 0,
        "advanced_options:prequantized_model": 1,
        "advanced_options:calibration_frames": 1,
        "debug_level": 1,
    }
    files["compile_options.json"] = f"{json.dumps(options, indent=1)}\n".encode()
    files["compile.py"] = _SCRIPT.format(model=name, result=_RESULT, soc=soc).encode()
    return Recipe(files, (Step("python compile.py", f"{_RESULT}/"),), tuple(remarks))


TIDL = Tool(
    name="tidl",
    title="TIDL (edgeai-tidl-tools)",
    sources=(
        "TexasInstruments/edgeai-tidl-tools, docs/supported_ops_rts_versions.md: operators, opset",
        "TexasInstruments/edgeai-tidl-tools, docs/tidl_fsg_quantization.md: QDQ models, devices",
        "TexasInstruments/edgeai-tidl-tools, examples/osrt_python: options, compilation provider",
    ),
    verified=NOT_VERIFIED,
    # Left out, since what is taken of them depends on attributes: ConvTranspose, Div, Pad, Resize,
    # Slice, Softmax, Split, Sub.
    operators=names(
        "Add AveragePool BatchNormalization Clip Concat Conv Elu Flatten Gemm GlobalAveragePool "
        "HardSigmoid HardSwish LeakyRelu MatMul Max MaxPool Mul PRelu Relu Reshape Sigmoid "
        "Squeeze Tanh Transpose Unsqueeze"
    ),
    recipe=_recipe,
    opset=19,
    ir_version=9,
    required={"soc": ("am62a", "am67a", "am68a", "am68pa", "am69a")},
    ranks=(1, 6),
    limits=(
        "Convolutions: the same stride both ways; no kernel above 7 at stride 2; depthwise kernels "
        "3, 5 or 7 at strides 1 and 2.",
        "Pooling was validated by TI for kernels 1, 2 and 3 at strides 1 and 2 alone.",
        "Clip from 0 only; Concat not along the batch; PRelu with a constant slope.",
    ),
)
