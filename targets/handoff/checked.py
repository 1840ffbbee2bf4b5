"""The stage's model as a tool can take it: checked, with fixed shapes, in a version it reads."""

from __future__ import annotations

import onnx
from onnx import version_converter

from edgeweave.runtime.runners import first_line
from edgeweave.targets.backend import StageModel
from edgeweave.targets.errors import BuildError
from edgeweave.targets.handoff.tools.tool import Tool

PROTOBUF_LIMIT = 2**31 - 1  # bytes; protobuf can neither write nor read a larger message


def checked_model(stage: StageModel, tool: Tool) -> onnx.ModelProto:
    """The stage's model for the tool; BuildError where it cannot be written for it.

    Has every shape, is valid by onnx's checker, and opens in ONNX Runtime.
    """
    if stage.model.ByteSize() > PROTOBUF_LIMIT:
        raise BuildError(
            stage.name,
            f"its model has {stage.model.ByteSize() / 1e9:.1f} GB, and ONNX files end at 2 GB",
            "Allow more stages, so that each holds fewer weights",
        )
    elsewhere = "Keep its regions on another engine"
    for entry in stage.model.opset_import:
        if entry.domain not in ("", "ai.onnx") and _uses(stage.model, entry.domain):
            raise BuildError(
                stage.name,
                f"{tool.title} knows no operators of the domain {entry.domain!r}",
                elsewhere,
            )
    model = _in_version(stage, tool)
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = f"its model is not valid ONNX: {first_line(error)}"
        raise BuildError(stage.name, reason, elsewhere) from error
    _check_shapes(stage.name, model, tool, elsewhere)
    _check_it_opens(stage.name, model, elsewhere)
    return model


def _uses(model: onnx.ModelProto, domain: str) -> bool:
    return any(node.domain == domain for node in model.graph.node)


def _in_version(stage: StageModel, tool: Tool) -> onnx.ModelProto:
    """A copy of the model in the newest versions that the tool reads, or in its own if older."""
    model = onnx.ModelProto()
    model.CopyFrom(stage.model)
    own = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(own)
    opset = max((entry.version for entry in own), default=1)
    if opset > tool.opset:
        try:
            model = version_converter.convert_version(model, tool.opset)
        except (RuntimeError, onnx.version_converter.ConvertError) as error:
            raise BuildError(
                stage.name,
                f"{tool.title} reads ONNX up to opset {tool.opset}, and its model in opset {opset} "
                f"cannot be converted: {first_line(error)}",
                f"Export the model with opset {tool.opset}",
            ) from error
    model.ir_version = min(model.ir_version, tool.ir_version)
    return model


def _check_shapes(name: str, model: onnx.ModelProto, tool: Tool, elsewhere: str) -> None:
    graph = model.graph
    infos = {info.name: info for info in (*graph.input, *graph.value_info, *graph.output)}
    made = [value for node in graph.node for value in node.output if value]
    for value in (*(info.name for info in graph.input), *made):
        kind = infos[value].type.tensor_type if value in infos else None
        if (
            kind is None
            or not kind.HasField("shape")
            or any(not dim.HasField("dim_value") for dim in kind.shape.dim)
        ):
            reason = f"the shape of {value!r} is open, and {tool.title} needs every shape"
            raise BuildError(name, reason, elsewhere)


def _check_it_opens(name: str, model: onnx.ModelProto, elsewhere: str) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # the check is of the model; optimising it would take long and change nothing
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common base
        reason = f"ONNX Runtime cannot open its model: {first_line(error)}"
        raise BuildError(name, reason, elsewhere) from error
