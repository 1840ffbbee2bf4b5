"""What a manifest must keep besides its types: safe paths, unique names, values that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import MANIFEST_NAME, FileEntry, Manifest, StageEntry
from edgeweave.runtime.spec import ValueSpec

DIGEST_NAME = "manifest.sha256"
_REPACK = "Pack the model again, and report this if it comes back"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def path_fault(path: str) -> str | None:
    """Why a path may not be used inside a bundle, or None for a plain relative POSIX path."""
    if not path or "\0" in path:
        return "is empty or holds a zero byte"
    if "\\" in path:
        return "holds a backslash"
    if path.startswith("/"):
        return "is absolute"
    if ".." in PurePosixPath(path).parts:
        return "leaves the bundle through '..'"
    if PurePosixPath(path).as_posix() != path or path == ".":
        return "is not in its shortest form"
    return None


def check_manifest(manifest: Manifest) -> None:
    """BundleError when the parts of a manifest do not fit together."""
    _unique("file", (entry.path for entry in manifest.files))
    for entry in manifest.files:
        _check_file(entry)
    listed = {entry.path for entry in manifest.files}
    _unique("stage", (stage.name for stage in manifest.stages))
    for stage in manifest.stages:
        _check_stage_files(stage, listed)
    if manifest.reference is not None and manifest.reference not in listed:
        raise _fault(f"the reference model {manifest.reference!r} is not among the files")
    _check_values(manifest)
    _check_cores(manifest.stages)


def _fault(reason: str) -> BundleError:
    return BundleError(MANIFEST_NAME, reason, _REPACK)


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _fault(f"{what} {name!r} is listed twice")
        seen.add(name)


def _check_path(path: str) -> None:
    fault = path_fault(path)
    if fault:
        raise _fault(f"path {path!r} {fault}")


def _check_file(entry: FileEntry) -> None:
    _check_path(entry.path)
    if entry.path in (MANIFEST_NAME, DIGEST_NAME):
        raise _fault(f"{entry.path} lists itself")
    if entry.size < 0:
        raise _fault(f"file {entry.path!r} has the size {entry.size}")
    if not _SHA256.fullmatch(entry.sha256):
        raise _fault(f"file {entry.path!r} has no SHA-256 in lower-case hex")


def _check_stage_files(stage: StageEntry, listed: set[str]) -> None:
    _check_path(stage.folder)
    for name in stage.files:
        _check_path(name)
        if f"{stage.folder}/{name}" not in listed:
            raise _fault(f"stage {stage.name!r} needs {stage.folder}/{name}, which is not listed")


def _check_values(manifest: Manifest) -> None:
    """Every value is produced once, before it is read."""
    produced: list[ValueSpec] = list(manifest.inputs)
    for stage in manifest.stages:
        _check_available(f"stage {stage.name!r} reads", stage.inputs, produced)
        produced += stage.outputs
    _unique("value", (spec.name for spec in produced))
    _check_available("the model returns", manifest.outputs, produced)
    _unique("output", (spec.name for spec in manifest.outputs))
    for spec in produced:
        if spec.shape is not None and any(d is not None and d < 0 for d in spec.shape):
            raise _fault(f"value {spec.name!r} has a negative dimension")


def _check_available(who: str, wanted: Iterable[ValueSpec], produced: Iterable[ValueSpec]) -> None:
    names = {spec.name for spec in produced}
    for spec in wanted:
        if spec.name not in names:
            raise _fault(f"{who} {spec.name!r}, which nothing before it produces")


def _check_cores(stages: Iterable[StageEntry]) -> None:
    cores: dict[str, tuple[int, ...]] = {}
    for stage in stages:
        if any(core < 0 for core in stage.cores):
            raise _fault(f"stage {stage.name!r} names a negative core")
        if cores.setdefault(stage.engine, stage.cores) != stage.cores:
            raise _fault(f"the stages of engine {stage.engine!r} name different cores")
