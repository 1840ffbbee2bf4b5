"""Runners: what executes the artifact of a stage, by the kind that the manifest names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import StageEntry

# A value of a stage: a numpy array for a tensor, a list of them for a sequence, None for an
# optional value that is absent, a dict for an ONNX map.
Value: TypeAlias = Any


class Runner(Protocol):
    """An opened stage. It is opened, run and closed in one and the same thread."""

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Run once: values in the order of the stage's inputs, and of its outputs."""
        ...

    def close(self) -> None:
        """Give back what the runner holds; values it returned stay valid."""
        ...


# (stage, its folder, the cores this thread is pinned to: empty when it is not) -> runner
Loader: TypeAlias = Callable[[StageEntry, Path, tuple[int, ...]], Runner]

_LOADERS = {
    "handoff": "edgeweave.runtime.handoff_runner:open_runner",
    "litert": "edgeweave.runtime.litert_runner:open_runner",
    "onnxruntime": "edgeweave.runtime.onnxruntime_runner:open_runner",
    "tvm": "edgeweave.runtime.tvm_runner:open_runner",
}


def find_loader(stage: StageEntry, others: Mapping[str, Loader]) -> Loader:
    """The loader for the stage's kind, from ``others`` or our own; imports its library."""
    if stage.kind in others:
        return others[stage.kind]
    if stage.kind not in _LOADERS:
        known = ", ".join(sorted({*_LOADERS, *others}))
        raise BundleError(
            f"stage {stage.name}",
            f"needs a runner of kind {stage.kind!r}, and this installation has {known}",
            "Install the edgeweave that packed the bundle",
        )
    module, function = _LOADERS[stage.kind].split(":")
    loader: Loader = getattr(import_module(module), function)
    return loader


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for use inside a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
