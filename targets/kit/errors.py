"""The errors of building and emulating devices."""

from __future__ import annotations

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.targets.errors import BuildError


class KitError(BuildError):
    """The folder for a device cannot be made, or cannot be written where it was asked for."""


class EmulationError(RuntimeFault):
    """A device cannot be started or emulated on this machine."""
