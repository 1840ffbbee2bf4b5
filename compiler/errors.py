"""The errors of reading a model, compiling it and packing the result."""

from __future__ import annotations

from edgeweave.runtime.errors import EdgeweaveError


class CompileError(EdgeweaveError):
    """A model cannot be compiled, or the result cannot be written."""


class ModelError(CompileError):
    """A model file is unreadable, invalid, or not fully specified."""


class VerificationError(EdgeweaveError):
    """Outputs differ from ONNX Runtime's by more than the tolerance."""
