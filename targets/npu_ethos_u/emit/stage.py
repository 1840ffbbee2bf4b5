"""From a QDQ ONNX stage to an int8 TFLite model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from edgeweave.targets.npu_ethos_u.emit.emission import Emission, Placed
from edgeweave.targets.npu_ethos_u.emit.folding import fold
from edgeweave.targets.npu_ethos_u.emit.layout import channels_last, inverse, plain
from edgeweave.targets.npu_ethos_u.emit.quantized import Border as QuantizedBorder
from edgeweave.targets.npu_ethos_u.emit.reading import read_quantized
from edgeweave.targets.npu_ethos_u.emit.refusals import RULES, Refused
from edgeweave.targets.npu_ethos_u.emit.table import EMITTERS, SUPPORTED

__all__ = ["RULES", "SUPPORTED", "Border", "Refused", "TfliteModel", "emit_stage"]


@dataclass(frozen=True)
class Border:
    """A value at the stage's border.

    ``permutation`` is what ``numpy.transpose`` is given to turn an input's ONNX value into the
    TFLite tensor, and an output's TFLite tensor into the ONNX value; empty where they are alike.
    """

    name: str
    permutation: tuple[int, ...] = ()


@dataclass(frozen=True)
class TfliteModel:
    """A TFLite model as bytes, with its borders in the order of the ONNX model's."""

    blob: bytes
    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]


def emit_stage(model: onnx.ModelProto, subject: str) -> TfliteModel:
    """The int8 TFLite model of a QDQ ONNX model whose borders are int8 or uint8.

    Scales, zero points and weights are initializers; shapes are fixed. ``subject`` is what the
    model is called in a refusal. Raises Refused for what TFLite cannot say with the same meaning.
    """
    try:
        return _emit(model)
    except Refused as refused:
        refused.subject = subject
        raise


def _emit(model: onnx.ModelProto) -> TfliteModel:
    graph = fold(read_quantized(model))
    emission = Emission()
    inputs = [_place_input(emission, border) for border in graph.inputs]
    for operator in graph.operators:
        emit = EMITTERS.get(operator.kind)
        if emit is None:
            raise Refused("ethos-u.operator", f"{operator} has no int8 TFLite form")
        emit(emission, operator)
    outputs: list[Placed] = []
    for border in graph.outputs:
        taken = {placed.tensor for placed in (*inputs, *outputs)}
        outputs.append(_place_output(emission, border, taken))
    return TfliteModel(
        emission.writer.finish([p.tensor for p in inputs], [p.tensor for p in outputs]),
        _borders(graph.inputs, [placed.layout for placed in inputs]),
        _borders(graph.outputs, [inverse(placed.layout) for placed in outputs]),
    )


def _place_input(emission: Emission, border: QuantizedBorder) -> Placed:
    """The tensor that the stage takes; images lie with their channels last."""
    value = border.value
    rank = len(value.shape)
    layout = channels_last(rank) if rank == 4 else plain(rank)
    taken = emission.tensor(value.name, value.shape, layout, value.quantisation, border.dtype)
    emission.values[value.name] = taken
    if border.dtype != "int8":
        inside = emission.tensor(f"{value.name}/int8", value.shape, layout, value.quantisation)
        emission.quantise(taken, inside)
        emission.values[value.name] = inside
    return taken


def _place_output(emission: Emission, border: QuantizedBorder, taken: set[int]) -> Placed:
    """The tensor that the stage gives: no other border's, and of the model's own type."""
    placed = emission.values[border.name]
    if border.dtype == "int8" and placed.tensor not in taken:
        return placed
    given = emission.tensor(
        f"{border.name}/{border.dtype}",
        placed.shape,
        placed.layout,
        placed.quantisation,
        border.dtype,
    )
    emission.quantise(placed, given)
    return given


def _borders(
    borders: Sequence[QuantizedBorder], layouts: Sequence[tuple[int, ...]]
) -> tuple[Border, ...]:
    return tuple(
        Border(border.name, () if layout == plain(len(layout)) else layout)
        for border, layout in zip(borders, layouts, strict=True)
    )
