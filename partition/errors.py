"""The errors of costing and planning."""

from __future__ import annotations

from edgeweave.runtime.errors import EdgeweaveError


class PartitionError(EdgeweaveError):
    """A cost table is inconsistent, or no placement exists at all."""


class TableError(PartitionError):
    """A written cost table cannot be read, or a request names what the table does not hold."""
