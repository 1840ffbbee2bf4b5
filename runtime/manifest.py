"""The manifest of a bundle: format version, files with their SHA-256, stages and their order.

The format is documented in docs/bundle-format.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeweave.runtime.spec import ValueSpec

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: POSIX path relative to its root, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class StageEntry:
    """A stage as the runtime sees it.

    ``engine`` names the worker that runs it; ``cores`` pins that worker (empty: not pinned).
    ``kind`` is the runner, ``folder`` the stage's folder inside the bundle, ``options`` the
    runner's own data. ``predicted_s`` is the plan's figure. ``host_run`` is the word for a run on
    the machine that built the bundle (measured, emulated, reference), None if it cannot run there.
    """

    name: str
    engine: str
    backend: str
    cores: tuple[int, ...]
    kind: str
    folder: str
    files: tuple[str, ...]
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    options: Mapping[str, Any]
    predicted_s: float
    host_run: str | None


@dataclass(frozen=True)
class Manifest:
    """Everything the runtime needs to know of a bundle, in topological order of its stages.

    ``reference`` is the path of the original model inside the bundle, for verification, or None.
    ``output_steps`` are the quantisation steps of outputs of a quantised model, by name: what one
    unit of the integer behind them stands for.
    """

    format_version: int
    model: str
    model_digest: str
    board: str
    board_identity: str
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    stages: tuple[StageEntry, ...]
    files: tuple[FileEntry, ...]
    predicted_latency_s: float
    predicted_interval_s: float
    budget_s: float | None
    reference: str | None
    created_with: Mapping[str, str]
    output_steps: Mapping[str, float] = field(default_factory=dict)
