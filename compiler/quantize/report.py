"""What a quantisation did, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import onnx

from edgeweave.compiler.quantize.accuracy import OutputAccuracy


@dataclass(frozen=True)
class FloatRegion:
    """A region that stays in float: its name in the float model, its operators, its first result.

    ``sensitivity`` is by output the RMS error that computing only this region in int8 causes, as a
    share of the output's own RMS.
    """

    name: str
    operators: tuple[str, ...]
    result: str
    sensitivity: Mapping[str, float]


@dataclass(frozen=True)
class QuantizeReport:
    """What was done and how the result agrees with float32 on the calibration frames.

    ``method`` is that of the ranges, or "given" for a model that was quantised already.
    ``accuracy`` is that of the result, ``before`` that with every region in int8, where regions had
    to stay in float. ``regions`` counts those of the float model. ``output_steps`` is the size of
    one quantisation step by float output, or a 255th of its range where it is not quantised.
    """

    precision: Literal["int8", "fp16"]
    method: str
    frames: int = 0
    files: tuple[str, ...] = ()
    accuracy: tuple[OutputAccuracy, ...] = ()
    before: tuple[OutputAccuracy, ...] = ()
    floors: Mapping[str, float] = field(default_factory=dict)
    regions: int = 0
    kept_float: tuple[FloatRegion, ...] = ()
    output_steps: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Quantised:
    """The model in the precision that was asked for, and how it came there."""

    proto: onnx.ModelProto
    report: QuantizeReport
