"""Which code made a kernel: verdicts and times of another lowering say nothing about this one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.targets.registry import find_backend

# All that decides what becomes of a region between its ONNX model and the backend.
_LOWERING = (
    "lower.py importer.py reductions.py region_model.py check_region.py tolerances.py".split()
)


@cache
def code_version(backend: str) -> str:
    """The backend's fingerprint, with a digest of our own code where that makes what is run.

    ONNX Runtime takes a region as it is; nothing of ours decides what comes of it.
    """
    try:
        found = find_backend(backend)
    except EdgeweaveError:
        return ""
    if found.consumes != "tensorir" and not found.estimates:
        return found.fingerprint()
    own = type(found).__module__.rpartition(".")[0]
    code = [files(own)] if own else []
    if found.consumes == "tensorir":
        compiler = files("edgeweave.compiler")
        code += [compiler / name for name in _LOWERING]
        code += [compiler / "integer", files("edgeweave.schedules")]
    return f"{found.fingerprint()}, code {_digest(code)}"


def _digest(places: Iterable[Traversable]) -> str:
    digest = hashlib.sha256(version("edgeweave").encode())
    for path in (path for place in places for path in _sources(place)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _sources(place: Traversable) -> Iterator[Traversable]:
    """The Python files of a folder and those below it, or the file itself."""
    if place.is_file():
        yield place
    elif place.is_dir():
        for inner in sorted(place.iterdir(), key=lambda item: item.name):
            if inner.is_dir() or inner.name.endswith((".py", ".json")):
                yield from _sources(inner)
