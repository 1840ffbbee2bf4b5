"""The table of backends. A new backend is one folder and one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from edgeweave.targets.backend import Backend
from edgeweave.targets.errors import TargetError

ENTRY_POINT_GROUP = "edgeweave.backends"

_BACKENDS = {
    "cpu": "edgeweave.targets.cpu:BACKEND",
    "handoff": "edgeweave.targets.handoff:BACKEND",
    "npu_ethos_u": "edgeweave.targets.npu_ethos_u.backend:BACKEND",
    "onnxruntime": "edgeweave.targets.onnxruntime:BACKEND",
}


def backend_names() -> tuple[str, ...]:
    """Names of the backends of this installation, our own first."""
    others = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)} - set(_BACKENDS)
    return (*_BACKENDS, *sorted(others))


@cache
def find_backend(name: str) -> Backend:
    """Load a backend on first use; TargetError when this installation has none of that name."""
    if name in _BACKENDS:
        module, attribute = _BACKENDS[name].split(":")
        backend: Backend = getattr(import_module(module), attribute)
        return backend
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            plugin: Backend = point.load()
            return plugin
    known = ", ".join(backend_names())
    raise TargetError(f"backend {name!r}", "is not part of this installation", f"It has: {known}")
