"""The errors of boards and backends."""

from __future__ import annotations

from edgeweave.runtime.errors import EdgeweaveError


class TargetError(EdgeweaveError):
    """A board or a backend is unknown, malformed or cannot do what was asked."""


class BuildError(TargetError):
    """A backend could not build a stage; ``subject`` is the stage's name.

    ``is_passing`` says that the next try may succeed: the machine was busy or full.
    """

    is_passing = False
