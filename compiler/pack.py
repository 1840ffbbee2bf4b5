"""Packing: the built stages, their models and the plan become one bundle."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.publish import published, write_folder, write_tar
from edgeweave.runtime.bundle import manifest_digest
from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    StageEntry,
)
from edgeweave.runtime.manifest_check import DIGEST_NAME, check_manifest
from edgeweave.runtime.manifest_json import encode_manifest
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Artifact, Slot

PLAN_NAME = "plan.json"
REFERENCE_NAME = "reference.onnx"
STAGE_MODEL_NAME = "stage.onnx"
# what can change a bundle's results or decide whether it opens on another machine
_RECORDED = ("edgeweave", "apache-tvm", "apache-tvm-ffi", "onnxruntime", "onnx", "numpy")

# Where the bytes of a file of the bundle come from.
Source: TypeAlias = bytes | Path


@dataclass(frozen=True)
class BuiltStage:
    """A stage that was built: how it is scheduled, its artifact, and its model in ONNX.

    ``cores`` are those of the stage's engine. ``model`` is the stage's ONNX model as bytes; it goes
    into the bundle for inspection unless the artifact holds a ``stage.onnx`` already.
    """

    name: str
    slot: Slot
    cores: tuple[int, ...]
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    predicted_s: float
    artifact: Artifact
    model: bytes


@dataclass(frozen=True)
class BundleContent:
    """Everything that goes into a bundle; ``stages`` are in topological order.

    ``plan`` is the plan as JSON data, ``reference`` the original model as bytes, or None to leave
    verification out. ``output_steps`` are as in the manifest.
    """

    model: str
    model_digest: str
    board: str
    board_identity: str
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    stages: tuple[BuiltStage, ...]
    plan: Mapping[str, Any]
    reference: bytes | None
    predicted_latency_s: float
    predicted_interval_s: float
    budget_s: float | None
    output_steps: Mapping[str, float] = field(default_factory=dict)


def pack(content: BundleContent, destination: Path) -> Path:
    """Write a bundle: a tar when the name ends in ``.tar``, else a directory; its path.

    The bundle appears under its name complete or not at all. An older bundle there is replaced;
    anything else is left alone. Equal content gives equal bytes. Raises CompileError.
    """
    sources = dict(_sources(content))
    with published(destination) as unfinished:
        entries = tuple(_entry(name, sources[name]) for name in sorted(sources))
        manifest = _manifest(content, entries)
        try:
            check_manifest(manifest)
        except BundleError as error:
            raise CompileError(str(destination), error.reason, error.next_step) from error
        head = encode_manifest(manifest)
        files: dict[str, Source] = {MANIFEST_NAME: head, DIGEST_NAME: manifest_digest(head)}
        files |= {entry.path: sources[entry.path] for entry in entries}
        if destination.suffix == ".tar":
            write_tar(files, unfinished)
        else:
            write_folder(files, unfinished)
    return destination


def _folder(stage: BuiltStage) -> str:
    return f"stages/{stage.name}"


def _sources(content: BundleContent) -> Iterator[tuple[str, Source]]:
    plan = json.dumps(content.plan, indent=1, sort_keys=True, allow_nan=False)
    yield PLAN_NAME, f"{plan}\n".encode()
    if content.reference is not None:
        yield REFERENCE_NAME, content.reference
    for stage in content.stages:
        for name in stage.artifact.files:
            yield f"{_folder(stage)}/{name}", stage.artifact.folder / name
        if STAGE_MODEL_NAME not in stage.artifact.files:
            yield f"{_folder(stage)}/{STAGE_MODEL_NAME}", stage.model


def _entry(path: str, source: Source) -> FileEntry:
    if isinstance(source, bytes):
        return FileEntry(path, hashlib.sha256(source).hexdigest(), len(source))
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(path, digest, file.tell())


def _manifest(content: BundleContent, files: tuple[FileEntry, ...]) -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        model=content.model,
        model_digest=content.model_digest,
        board=content.board,
        board_identity=content.board_identity,
        inputs=content.inputs,
        outputs=content.outputs,
        stages=tuple(stage_entry(stage) for stage in content.stages),
        files=files,
        predicted_latency_s=content.predicted_latency_s,
        predicted_interval_s=content.predicted_interval_s,
        budget_s=content.budget_s,
        reference=None if content.reference is None else REFERENCE_NAME,
        created_with={
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: version(name) for name in _RECORDED},
        },
        output_steps=content.output_steps,
    )


def stage_entry(stage: BuiltStage) -> StageEntry:
    """The stage as the runtime sees it."""
    return StageEntry(
        name=stage.name,
        engine=stage.slot.engine,
        backend=stage.slot.backend,
        cores=stage.cores,
        kind=stage.artifact.kind,
        folder=_folder(stage),
        files=stage.artifact.files,
        inputs=stage.inputs,
        outputs=stage.outputs,
        options=stage.artifact.options,
        predicted_s=stage.predicted_s,
        host_run=stage.artifact.host_run,
    )
