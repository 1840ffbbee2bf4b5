"""The error every part of edgeweave raises for its users, and the runtime's own family."""

from __future__ import annotations


class EdgeweaveError(Exception):
    """A fault the user can act on: what it is about, what is wrong, what to do next.

    ``subject`` names the thing (a file, a board, a stage), ``reason`` says what is wrong with it,
    ``next_step`` says what the user can do; it may be empty where nothing can be advised.
    """

    def __init__(self, subject: str, reason: str, next_step: str = "") -> None:
        self.subject = subject
        self.reason = reason
        self.next_step = next_step
        super().__init__(subject, reason, next_step)

    def __str__(self) -> str:
        text = f"{self.subject}: {self.reason}"
        return f"{text}. {self.next_step}" if self.next_step else text


class RuntimeFault(EdgeweaveError):  # noqa: N818 - the family is named for what happens
    """A bundle cannot be read, or a run of it failed."""


class BundleError(RuntimeFault):
    """A bundle is damaged, unsafe, or of a version this runtime does not know."""


class InputError(RuntimeFault):
    """A frame does not have the names, shapes or dtypes that the bundle declares."""


class StageFailure(RuntimeFault):
    """A stage raised while a frame ran through it; ``subject`` is the stage's name."""
