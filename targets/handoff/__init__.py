"""Stages that a vendor's own tool finishes: a checked model, its configuration and the command."""

from __future__ import annotations

from edgeweave.targets.handoff.backend import HandoffBackend

BACKEND = HandoffBackend()
