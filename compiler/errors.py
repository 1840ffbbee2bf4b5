"""The errors of reading a model, compiling it and packing the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeweave.runtime.errors import EdgeweaveError

if TYPE_CHECKING:
    from edgeweave.compiler.pipeline import Planned


class CompileError(EdgeweaveError):
    """A model cannot be compiled, or the result cannot be written."""


class ModelError(CompileError):
    """A model file is unreadable, invalid, or not fully specified."""


class BudgetMissedError(CompileError):
    """No plan meets the request; ``planned`` holds the best, ``shortfall`` what must change."""

    def __init__(self, planned: Planned) -> None:
        self.planned = planned
        self.shortfall = planned.plan.shortfall
        super().__init__(
            f"{planned.model.path.name} on {planned.board.name}",
            "no plan meets the request",
            " ".join(self.shortfall),
        )


class VerificationError(EdgeweaveError):
    """Outputs differ from ONNX Runtime's by more than the tolerance."""
