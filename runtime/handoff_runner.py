"""Runs the model of a stage that a vendor's tool is still to compile, in its place, on the CPU."""

from __future__ import annotations

from pathlib import Path

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.onnxruntime_runner import OnnxRuntimeRunner
from edgeweave.runtime.onnxruntime_runner import open_runner as open_model


def open_runner(stage: StageEntry, folder: Path, cores: tuple[int, ...]) -> OnnxRuntimeRunner:
    """Open ``stage.onnx`` with ONNX Runtime: the reference of what the vendor's binary computes.

    BundleError when the manifest does not say that the vendor's step is still to be done. This
    runner knows no vendor's binary, and its results must not be taken for one's.
    """
    if stage.options.get("done") is not False:
        tool = stage.options.get("tool", "a vendor's tool")
        raise BundleError(
            f"stage {stage.name}",
            f"is said to be compiled by {tool}, and this installation has no runtime for that",
            "Run the vendor's file with the vendor's runtime, or pack the model again",
        )
    return open_model(stage, folder, cores)
