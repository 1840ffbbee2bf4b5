"""Regions: the smallest units that are placed, costed and tuned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgeweave.runtime.spec import ValueSpec

_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Operator:
    """One ONNX node of a region: operator type, domain ("" is ONNX's own) and node name."""

    type: str
    domain: str
    name: str

    @property
    def label(self) -> str:
        """``Conv``, or ``com.microsoft.Gelu`` for a domain other than ONNX's own."""
        return f"{self.domain}.{self.type}" if self.domain else self.type


@dataclass(frozen=True)
class Region:
    """An anchor operator with the elementwise tail that fuses with it.

    ``index`` is its position in the topological order of the graph. ``inputs`` are activations
    (weights are counted in ``weight_bytes``); ``outputs`` are what others read.
    ``flops`` counts a multiply-add as two. ``bytes_moved`` is the least traffic: each input, weight
    and output once. ``precision`` is the dtype the anchor computes in (``float32``, ``int8``).
    ``digest`` identifies operators, attributes, shapes and dtypes; weight values are not part of
    it, so equal blocks share one digest. ``has_subgraph`` marks If, Loop and Scan.
    """

    index: int
    operators: tuple[Operator, ...]
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    flops: int
    bytes_moved: int
    weight_bytes: int
    precision: str
    digest: str
    has_subgraph: bool = False

    @property
    def name(self) -> str:
        """``r012 Conv+Relu``: stable within one model, readable in a report."""
        labels = [op.label for op in self.operators]
        # a quantised block is known by what stands between its conversions
        labels = [label for label in labels if label not in _CONVERSIONS] or labels
        shown = labels if len(labels) <= 3 else [*labels[:2], f"…{len(labels) - 2} more"]
        return f"r{self.index:03d} {'+'.join(shown)}"


@dataclass(frozen=True)
class Value:
    """One value that crosses a region's border.

    ``producer`` is a region index, or None for an input of the model; ``consumers`` are region
    indices in ascending order; ``is_output`` marks an output of the model. ``nbytes`` is 0 when the
    size depends on the data. A ``feedback`` value is read in a later call of its readers (a state,
    or a gradient): it costs its transfer but orders nothing.
    """

    name: str
    producer: int | None
    consumers: tuple[int, ...]
    nbytes: int
    is_output: bool
    feedback: bool = False


@dataclass(frozen=True)
class RegionGraph:
    """All regions of a model in topological order, with the model's own inputs and outputs."""

    regions: tuple[Region, ...]
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]

    def __post_init__(self) -> None:
        produced = {spec.name for spec in self.inputs}
        for position, region in enumerate(self.regions):
            if region.index != position:
                raise ValueError(f"region {region.name} stands at position {position}")
            missing = {spec.name for spec in region.inputs} - produced
            if missing:
                raise ValueError(f"region {region.name} reads {missing} before it is produced")
            produced |= {spec.name for spec in region.outputs}

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """Every value that crosses a region border, with its producer and consumers."""
        consumers: dict[str, list[int]] = {}
        for region in self.regions:
            for spec in region.inputs:
                consumers.setdefault(spec.name, []).append(region.index)
        outputs = {spec.name for spec in self.outputs}
        produced: list[tuple[ValueSpec, int | None]] = [(spec, None) for spec in self.inputs]
        produced += [(spec, region.index) for region in self.regions for spec in region.outputs]
        return tuple(
            Value(
                spec.name,
                producer,
                tuple(consumers.get(spec.name, ())),
                spec.nbytes or 0,
                spec.name in outputs,
            )
            for spec, producer in produced
        )
