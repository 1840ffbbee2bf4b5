"""Quantisation: from a float model and calibration data to one that computes in int8 or float16."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeweave.compiler.frontend import load_model

if TYPE_CHECKING:
    from edgeweave.compiler.model import Model
    from edgeweave.compiler.quantize.report import QuantizeReport
    from edgeweave.compiler.quantize.settings import QuantizeSettings

# (phase, steps done, steps in all, what is being done)
Progress = Callable[[str, int, int, str], None]


def quantized_model(
    model: Model, settings: QuantizeSettings, skip: Collection[str], progress: Progress
) -> tuple[Model, QuantizeReport]:
    """The model in the precision that is asked for, canonical again, and how it came there.

    What it computes is from here on the meaning of the model: every verification compares with it.
    Raises QuantizeError.
    """
    from edgeweave.compiler.quantize.quantize import quantize_model

    done = quantize_model(model, settings, progress)
    quantized = load_model(done.proto, skip=skip)
    return (
        replace(
            quantized,
            path=model.path,
            rewrites=(*model.rewrites, *quantized.rewrites),
            warnings=(*model.warnings, *quantized.warnings),
        ),
        done.report,
    )
