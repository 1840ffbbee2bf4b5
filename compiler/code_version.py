"""Which code made a kernel: verdicts and times of another lowering say nothing about this one."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.targets.registry import find_backend

# All that decides what becomes of a region between its ONNX model and the backend.
_LOWERING = (
    (
        "edgeweave.compiler",
        ("lower.py", "importer.py", "reductions.py", "region_model.py", "check_region.py"),
    ),
    ("edgeweave.schedules", ()),
    ("edgeweave.targets.cpu", ()),
)


@cache
def code_version(backend: str) -> str:
    """The backend's fingerprint, with a digest of our own lowering where it consumes TensorIR."""
    try:
        found = find_backend(backend)
    except EdgeweaveError:
        return ""
    if found.consumes != "tensorir":
        return found.fingerprint()
    return f"{found.fingerprint()}, lowering {_lowering_digest()}"


@cache
def _lowering_digest() -> str:
    digest = hashlib.sha256(version("edgeweave").encode())
    for package, names in _LOWERING:
        modules = {item.name: item for item in files(package).iterdir() if item.is_file()}
        for name in names or sorted(n for n in modules if n.endswith(".py")):
            digest.update(modules[name].read_bytes())
    return digest.hexdigest()[:12]
