"""NXP's converter and VeriSilicon's delegate, for the VIP8000 of an i.MX 8M Plus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeweave.targets.handoff.tools.tool import NOT_VERIFIED, QDQ_MODEL, Recipe, Step, Tool, names

if TYPE_CHECKING:
    import onnx

_RESULT = "stage.tflite"
_DELEGATE = "/usr/lib/libvx_delegate.so"


def _recipe(_model: onnx.ModelProto, vendor: Mapping[str, str]) -> Recipe:
    command = (
        "onnx2tflite --qdq-aware-conversion --keep-io-tensors-format "
        f"--output {_RESULT} {QDQ_MODEL}"
    )
    delegate = vendor.get("delegate", _DELEGATE)
    remarks = (
        f"The delegate {delegate} compiles the file on the board when it is first loaded, for "
        f"instance: benchmark_model --graph={_RESULT} --external_delegate_path={delegate}",
        "Operators that the delegate does not take run on the CPU without an error; its log names "
        "them.",
        "Users report results that differ from TensorFlow Lite's reference by a step and more per "
        "layer (VeriSilicon/tflite-vx-delegate, issue 210).",
    )
    return Recipe({}, (Step(command, _RESULT),), remarks)


VIP8000 = Tool(
    name="vip8000",
    title="eIQ ONNX2TFLite and the VX delegate",
    sources=(
        "NXP/eiq-onnx2tflite, README.md and node_converters: options, quantised operators",
        "VeriSilicon/tflite-vx-delegate, op_status.md: operators of the delegate",
        "NXP/eiq-model-zoo: benchmark_model with libvx_delegate.so on the i.MX 8M Plus",
    ),
    verified=NOT_VERIFIED,
    # Those that both take. Resize is left out: its rounding differs between ONNX and TFLite.
    operators=names(
        "Add AveragePool Clip Concat Conv ConvTranspose DepthToSpace Flatten Gemm "
        "GlobalAveragePool HardSwish LeakyRelu MaxPool Mul Pad PRelu ReduceMean Relu Reshape "
        "Sigmoid Softmax Split Squeeze Sub Tanh Transpose"
    ),
    recipe=_recipe,
    opset=22,
    ir_version=10,
    optional={"delegate": ()},
    ranks=(1, 4),
)
