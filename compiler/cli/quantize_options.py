"""Options that ask for another precision, and what they ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgeweave.compiler.cli.options import takes

if TYPE_CHECKING:
    from edgeweave.compiler.quantize.settings import QuantizeSettings

_NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"


class Numbers(click.ParamType[tuple[float, ...]]):
    """One number, or one per channel: ``0.485,0.456,0.406``."""

    name = "number[,number]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse the text; a usage error names an example."""
        parts = [part.strip() for part in str(value).split(",")]
        if not all(re.fullmatch(_NUMBER, part) for part in parts):
            self.fail(f"{value!r} is no list of numbers; write 0.485,0.456,0.406", param, ctx)
        return tuple(float(part) for part in parts)


class Floor(click.ParamType[tuple[str, float]]):
    """The least agreement of an output, or of all: ``0.97`` or ``OUTPUT=0.97``."""

    name = "[output=]share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Parse the text; a usage error names an example."""
        name, _, written = str(value).rpartition("=")
        share = float(written) if re.fullmatch(_NUMBER, written.strip()) else -1.0
        if not 0 <= share <= 1:
            self.fail(
                f"{value!r} is no agreement from 0 to 1; write 0.97 or OUTPUT=0.97", param, ctx
            )
        return name.strip(), share


# options whose name is not that of the field
_NAMES = {"method": "calibration-method", "limit": "calibration-limit", "floors": "accuracy-floor"}
_OPTIONS = (
    click.option(
        "--quantize",
        type=click.Choice(["int8", "fp16"]),
        help="Compute in int8, by calibration or as the model is quantised already, or in float16.",
    ),
    click.option(
        "--calibration",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Typical frames as .npy, .npz or images; other files in the folder are ignored.",
    ),
    click.option(
        "--calibration-method",
        "method",
        type=click.Choice(["minmax", "entropy", "percentile"]),
        default="minmax",
        show_default=True,
        help="How the range of each value follows from the frames.",
    ),
    click.option(
        "--calibration-limit",
        "limit",
        type=click.IntRange(min=1),
        default=200,
        show_default=True,
        help="Most frames to calibrate with, in the order of their names.",
    ),
    click.option(
        "--scale",
        type=Numbers(),
        help="Images: what a pixel from 0 to 255 is multiplied by. [default: 1/255]",
    ),
    click.option(
        "--mean", type=Numbers(), help="Images: subtracted then; one number per channel, or one."
    ),
    click.option(
        "--std", type=Numbers(), help="Images: divided by then; one number per channel, or one."
    ),
    click.option(
        "--layout",
        type=click.Choice(["nchw", "nhwc"]),
        help="Images: the order of the input's axes. [default: by the place of the channels]",
    ),
    click.option(
        "--accuracy-floor",
        "floors",
        type=Floor(),
        multiple=True,
        metavar="[OUTPUT=]SHARE",
        help="Least agreement with float32 (IoU of masks, top-1 of classes, else cosine); the "
        "fewest regions stay in float that reach it. May be repeated.",
    ),
)


@dataclass(frozen=True)
class Precision:
    """The precision that is asked for, and how the model gets there."""

    quantize: Literal["int8", "fp16"] | None = None
    calibration: Path | None = None
    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    limit: int = 200
    scale: tuple[float, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: str | None = None
    floors: tuple[tuple[str, float], ...] = ()

    def settings(self) -> QuantizeSettings | None:
        """What the compiler is asked to do; None to leave the model as it is.

        A usage error for options that ask for nothing without ``--quantize``.
        """
        if self.quantize is None:
            self._check_unused()
            return None
        from edgeweave.compiler.quantize.settings import Preprocessing, QuantizeSettings

        given = {key: getattr(self, key) for key in ("scale", "mean", "std", "layout")}
        return QuantizeSettings(
            precision=self.quantize,
            calibration=self.calibration,
            preprocessing=Preprocessing(**{k: v for k, v in given.items() if v is not None}),
            method=self.method,
            limit=self.limit,
            floors=dict(self.floors),
        )

    def _check_unused(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) != field.default:
                name = _NAMES.get(field.name, field.name)
                raise click.UsageError(f"--{name} goes with --quantize int8 or fp16")


precision_options = takes(_OPTIONS, Precision, "precision")
