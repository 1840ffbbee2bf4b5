"""Qualcomm's AI Engine Direct (QNN), for the Hexagon Tensor Processor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeweave.targets.handoff.tools.tool import NOT_VERIFIED, QDQ_MODEL, Recipe, Step, Tool, names

if TYPE_CHECKING:
    import onnx

_RESULT = "stage.bin"
_LIBRARIES = "$QNN_SDK_ROOT/lib/x86_64-linux-clang"


def _recipe(_model: onnx.ModelProto, vendor: Mapping[str, str]) -> Recipe:
    device: dict[str, Any] = {"dsp_arch": vendor["dsp_arch"]}
    if "soc_id" in vendor:
        device["soc_id"] = int(vendor["soc_id"])
    backend = {
        "backend_extensions": {
            "shared_library_path": "libQnnHtpNetRunExtensions.so",
            "config_file_path": "htp_config.json",
        }
    }
    steps = (
        Step(f"qairt-converter --input_network {QDQ_MODEL} --output_path stage.dlc", "stage.dlc"),
        Step(
            f'qnn-context-binary-generator --dlc_path stage.dlc --backend "{_LIBRARIES}/'
            'libQnnHtp.so" --config_file qnn_config.json --binary_file stage --output_dir .',
            _RESULT,
        ),
    )
    remarks = (
        "Source the SDK's bin/envsetup.sh first: it sets QNN_SDK_ROOT and the library path by "
        "which libQnnHtpNetRunExtensions.so is found.",
        "qairt-converter is documented to keep the types of a quantised model. Before it, the SDK "
        "had qnn-onnx-converter (a C++ model), qnn-model-lib-generator (a library of it) and "
        "qnn-context-binary-generator --model LIBRARY in place of --dlc_path.",
        "The stage's values are int8. Qualcomm's tables name unsigned 8-bit values for most "
        "operators; whether the converter takes signed ones for all of them is open.",
    )
    files = {
        "qnn_config.json": f"{json.dumps(backend, indent=1)}\n".encode(),
        "htp_config.json": f"{json.dumps({'devices': [device]}, indent=1)}\n".encode(),
    }
    return Recipe(files, steps, remarks)


QNN = Tool(
    name="qnn",
    title="Qualcomm AI Engine Direct (QNN)",
    sources=(
        "ONNX Runtime, QNN Execution Provider: Supported ONNX operators",
        "Qualcomm AI Runtime SDK 2.39, qairt_converter: quantised models, ONNX opset up to 22",
        "Qualcomm AI Engine Direct SDK, qnn-context-binary-generator and HTP backend extensions",
    ),
    verified=NOT_VERIFIED,
    # MatMul is listed for unsigned values only. Reshape is not in the list.
    operators=names(
        "Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose DepthToSpace Div Elu "
        "Flatten Gemm GlobalAveragePool HardSwish LeakyRelu Max MaxPool Min Mul Pad PRelu "
        "ReduceMax ReduceMean ReduceMin ReduceSum Relu Resize Sigmoid Slice Softmax "
        "SpaceToDepth Split Squeeze Sub Tanh Transpose Unsqueeze"
    ),
    recipe=_recipe,
    opset=21,
    ir_version=10,
    required={"dsp_arch": ("v68", "v69", "v73", "v75", "v79", "v81")},
    optional={"soc_id": ()},
    ranks=(1, 5),
    limits=("Data types and ranks by operator: HTP Backend Op Definition Supplement of the SDK.",),
)
