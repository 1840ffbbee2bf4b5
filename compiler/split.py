"""Cut the model into stages along a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from edgeweave.compiler.graph import GraphView
from edgeweave.compiler.region_model import RegionModel
from edgeweave.compiler.regions import Regions
from edgeweave.targets.backend import Slot, StageModel


@dataclass(frozen=True)
class StageSource:
    """A stage in both forms: as one ONNX model, and as the models of its regions in order."""

    stage: StageModel
    parts: tuple[RegionModel, ...]


def cut_stage(regions: Regions, name: str, slot: Slot, members: Sequence[int]) -> StageSource:
    """Extract a set of regions (indices) as a stage; its border values keep their names."""
    chosen = sorted(members)
    view = regions.view
    nodes = sorted(node for index in chosen for node in regions.nodes[index])
    inside = set(chosen)
    graph = regions.graph
    outputs = tuple(
        value.name
        for value in graph.values
        if value.producer in inside
        and (value.is_output or any(c not in inside for c in value.consumers))
    )
    inputs = tuple(
        value.name
        for value in graph.values
        if value.producer not in inside and any(c in inside for c in value.consumers)
    )
    parts = tuple(regions.models[index] for index in chosen)
    stage = StageModel(
        name=name,
        slot=slot,
        regions=tuple(graph.regions[index] for index in chosen),
        model=_extract(view, name, nodes, inputs, outputs),
        inputs=tuple(view.spec(value) for value in inputs),
        outputs=tuple(view.spec(value) for value in outputs),
        weights=tuple(dict.fromkeys(weight for part in parts for weight in part.weights)),
    )
    return StageSource(stage, parts)


def _extract(
    view: GraphView,
    name: str,
    nodes: Sequence[int],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    reads = {read for node in nodes for read in view.reads[node]}
    inner = {made for node in nodes for made in view.nodes[node].output if made}
    graph = helper.make_graph(
        [view.nodes[node] for node in nodes],
        name,
        [_info(view, value) for value in inputs],
        [_info(view, value) for value in outputs],
        [tensor for key, tensor in view.initializers.items() if key in reads],
        value_info=[view.infos[v] for v in sorted(inner - set(outputs)) if v in view.infos],
    )
    model = helper.make_model(
        graph, opset_imports=view.proto.opset_import, ir_version=view.proto.ir_version
    )
    model.producer_name = "edgeweave"
    return model


def _info(view: GraphView, name: str) -> onnx.ValueInfoProto:
    return view.infos.get(name) or onnx.ValueInfoProto(name=name)
