"""The error of quantising a model."""

from __future__ import annotations

from edgeweave.compiler.errors import CompileError


class QuantizeError(CompileError):
    """A model cannot be quantised, or the calibration data do not fit it."""
