"""What is asked of a quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Method = Literal["minmax", "entropy", "percentile"]


@dataclass(frozen=True)
class Preprocessing:
    """How a pixel p from 0 to 255 becomes an input: ``(p * scale - mean) / std``.

    Each has one number per channel, or one for all. ``layout`` None: by the place of the channels.
    """

    scale: tuple[float, ...] = (1 / 255,)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["nchw", "nhwc"] | None = None


@dataclass(frozen=True)
class QuantizeSettings:
    """The precision, the folder of calibration frames, and how well the result must agree.

    ``floors`` are the least agreements with float32 by output, under "" that of every other output.
    """

    precision: Literal["int8", "fp16"]
    calibration: Path | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    method: Method = "minmax"
    limit: int = 200
    floors: Mapping[str, float] = field(default_factory=dict)
