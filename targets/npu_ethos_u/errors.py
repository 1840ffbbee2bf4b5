"""What can go wrong between a stage and the vendor's binary; each is one message to the user."""

from __future__ import annotations

from edgeweave.targets.errors import BuildError

_ELSEWHERE = "Keep its regions off this engine (--avoid)"


class VelaMissingError(BuildError):
    """The packages of the extra ``ethos-u`` are not installed; ``reason`` names which."""


class VelaProcessError(BuildError):
    """Vela crashed, took too long, or could not be started."""

    is_passing = True


class VelaRejectionError(BuildError):
    """Vela ended with an error of its own; ``reason`` holds its words."""


class CpuOperatorsError(BuildError):
    """Vela left operators of the stage to a CPU; ``operators`` names them."""

    def __init__(self, subject: str, operators: tuple[str, ...], said: str = "") -> None:
        self.operators = operators
        count = len(operators)
        reason = (
            f"Vela leaves {count} of its operators to a CPU ({_some(operators)})"
            f"{f'; it said: {said}' if said else ''}"
        )
        super().__init__(subject, reason, _ELSEWHERE)


class SramTooSmallError(BuildError):
    """The stage needs more SRAM at one time than the accelerator has."""


def _some(names: tuple[str, ...], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
