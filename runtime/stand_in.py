"""Stages that are built for another machine, in a bundle that runs here as a reference only.

An NPU's stage runs here by reference kernels; so that the whole bundle can be verified, ONNX
Runtime stands in for the stages that only the board's CPU can run. A bundle without such a
reference is left to its board: nothing of it would be tried here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.machine import run_word
from edgeweave.runtime.manifest import Manifest, StageEntry


def with_stand_ins(manifest: Manifest) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest as it can run here, and a sentence for each stage that another stands in for."""
    if all(stage.host_run != "reference" for stage in manifest.stages):
        return manifest, ()
    stages, notes = [], []
    for stage in manifest.stages:
        try:
            run_word([stage])
            stages.append(stage)
        except RuntimeFault as fault:
            stages.append(_stand_in(stage))
            notes.append(f"{fault.subject} {fault.reason}: ONNX Runtime stands in for it")
    return replace(manifest, stages=tuple(stages)), (*notes, *_unfinished(stages))


def _stand_in(stage: StageEntry) -> StageEntry:
    """The stage's ONNX model, unpinned: the cores are those of the board."""
    return replace(stage, kind="onnxruntime", cores=(), options={}, host_run="reference")


def _unfinished(stages: list[StageEntry]) -> Iterator[str]:
    """What is still to be done with a vendor's own tool."""
    for stage in stages:
        step = stage.options.get("step")
        if stage.kind == "handoff" and isinstance(step, str):
            yield (
                f"stage {stage.name} is not built yet, and ONNX Runtime stands in for it: run "
                f"{step}"
            )
