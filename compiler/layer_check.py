"""A quantised stage layer by layer: each is given ONNX Runtime's own values.

Behind many quantised layers two right results differ, because one sum that is rounded otherwise
changes what all later layers see. What each layer does by itself shows when its inputs are those of
ONNX Runtime: then its outputs are ONNX Runtime's but for the rounding of this one layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgeweave.compiler.model import Model
from edgeweave.compiler.regions import Regions, find_regions
from edgeweave.compiler.split import cut_stage
from edgeweave.compiler.types import value_spec
from edgeweave.runtime.runners import Value
from edgeweave.targets.backend import Slot, StageModel
from edgeweave.targets.npu_ethos_u.expectation import expectation


@dataclass(frozen=True)
class LayerAgreement:
    """How far the layers of a stage are from ONNX Runtime's, each given its values.

    ``steps`` is the largest difference in quantisation steps, ``layer`` the name of the layer that
    shows it, and ``share`` the part of all values that differ at all.
    """

    layers: int
    steps: int
    layer: str
    share: float


def check_layers(model: Path, inputs: Mapping[str, Value]) -> LayerAgreement:
    """Compare every layer of a stage's QDQ model for one set of its inputs."""
    proto = onnx.load(model)
    regions = find_regions(_as_model(model, proto))
    values = _all_values(proto, regions, inputs)
    steps, worst, differing, total = 0, "", 0, 0
    for region in regions.graph.regions:
        stage = cut_stage(regions, region.name, Slot("npu", "npu_ethos_u"), [region.index]).stage
        for name, made in _integers(stage, values).items():
            off = np.abs(made.astype(np.int64) - values[name])
            differing += int(np.count_nonzero(off))
            total += off.size
            if off.max(initial=0) > steps:
                steps, worst = int(off.max()), region.name
    return LayerAgreement(len(regions.graph.regions), steps, worst, differing / max(1, total))


def _integers(stage: StageModel, values: Mapping[str, Value]) -> dict[str, Any]:
    """The layer's outputs by the arithmetic of the NPU."""
    from edgeweave.targets.npu_ethos_u.emit.stage import emit_stage

    emitted = emit_stage(stage.model, stage.name)
    options = {
        "inputs": [(border.name, border.permutation) for border in emitted.inputs],
        "outputs": [(border.name, border.permutation) for border in emitted.outputs],
    }
    return expectation(emitted.blob, options, values)


def _all_values(
    proto: onnx.ModelProto, regions: Regions, inputs: Mapping[str, Value]
) -> dict[str, Value]:
    """Every value between layers as ONNX Runtime computes it, step by step and without fusing."""
    import onnxruntime

    exposed = onnx.ModelProto()
    exposed.CopyFrom(proto)
    known = {info.name for info in exposed.graph.output}
    names = [spec.name for region in regions.graph.regions for spec in region.outputs]
    exposed.graph.output.extend(regions.view.infos[name] for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = session.run(names, dict(inputs))
    return {**inputs, **dict(zip(names, found, strict=True))}


def _as_model(path: Path, proto: onnx.ModelProto) -> Model:
    """A stage is canonical already."""
    inputs = tuple(value_spec(info) for info in proto.graph.input)
    outputs = tuple(value_spec(info) for info in proto.graph.output)
    return Model(path, proto, proto, "", inputs, outputs, ())
