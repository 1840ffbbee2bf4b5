"""Whether the stages of a bundle can run on this machine, and what such a run is called."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.manifest import StageEntry

_SAME = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_WORST_FIRST = ("reference", "emulated", "measured")


def machine_architecture() -> str:
    """The architecture of this machine in LLVM's words: ``x86_64``, ``aarch64``, ``arm``."""
    return triple_architecture(platform.machine())


def triple_architecture(triple: str) -> str:
    """The architecture of an LLVM triple: ``aarch64`` of ``aarch64-linux-gnu``.

    All of 32-bit ARM is ``arm``; which of its instructions are there is a matter of features.
    """
    name = triple.split("-", maxsplit=1)[0].lower()
    if name.startswith(("armv", "thumbv")):
        return "arm"
    return _SAME.get(name, name)


def run_word(stages: Iterable[StageEntry]) -> str:
    """The weakest word among the stages' runs: reference, emulated or measured.

    RuntimeFault names the first stage that cannot run here.
    """
    words = {_stage_word(stage) for stage in stages}
    return next((word for word in _WORST_FIRST if word in words), "measured")


def _stage_word(stage: StageEntry) -> str:
    """``options["triple"]`` tells a bundle that was carried to its board from one that was not."""
    triple = stage.options.get("triple")
    here = machine_architecture()
    native = isinstance(triple, str) and triple_architecture(triple) == here
    if stage.host_run in ("emulated", "reference"):
        return stage.host_run
    if native or (stage.host_run == "measured" and triple is None):
        return "measured"
    built_for = triple if isinstance(triple, str) else "another machine"
    raise RuntimeFault(
        f"stage {stage.name}",
        f"is built for {built_for}; this machine is {here}",
        "Copy the bundle to its board and run it there",
    )
