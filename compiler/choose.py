"""Build a stage with each backend its engine offers, and keep the one that is measured cheapest."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import set_external_data

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.check_region import agrees, reference_samples
from edgeweave.compiler.pack import BuiltStage, stage_entry
from edgeweave.compiler.split import StageSource
from edgeweave.compiler.timing import time_runners
from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.runtime.runners import find_loader
from edgeweave.targets.backend import Artifact, Slot, StageModel, VendorEstimate
from edgeweave.targets.board import Engine

# A machine slows down and recovers within milliseconds; a stage is timed for longer than that.
_LEAST_S = 0.15


@dataclass(frozen=True)
class Candidate:
    """A stage built by one backend: seconds of a whole call, or why it is out of the running.

    ``estimate`` is the vendor's own figure, where there is one.
    """

    slot: Slot
    seconds: float | None
    fault: str
    estimate: VendorEstimate | None = None


@dataclass(frozen=True)
class Choice:
    """What became of a stage: the backend that won, and everything that was tried.

    ``seconds`` is None when nothing was measured: only one candidate, or a board that is not this
    machine.
    """

    stage: str
    planned: Slot
    slot: Slot
    seconds: float | None
    candidates: tuple[Candidate, ...]


def choose(
    source: StageSource, engine: Engine, backends: Sequence[str], folder: Path, *, timed: bool
) -> tuple[Artifact, Choice]:
    """Build with each backend and keep the cheapest whose outputs agree with ONNX Runtime's.

    ``backends`` starts with the planned one. With ``timed`` the engine's other backends follow
    when none of these will do; without, the first that can be built is taken. Raises the first
    candidate's error when none can be built.
    """
    planned = source.stage.slot
    samples = reference_samples(source.stage.model, limit=1) if timed else []
    tried: list[tuple[Candidate, Artifact | None]] = []
    errors: list[EdgeweaveError] = []
    others = [name for name in engine.backends if name not in backends] if timed else []
    for backend in (*backends, *others):
        if backend in others and any(artifact is not None for _, artifact in tried):
            break
        slot = Slot(planned.engine, backend)
        stage = replace(source.stage, slot=slot)
        try:
            artifact = build_stage(replace(source, stage=stage), engine, folder / backend)
            seconds, fault = None, ""
            if samples and artifact.host_run == "measured":
                seconds, fault = _try(stage_of(stage, engine, artifact), stage, samples[0])
        except EdgeweaveError as error:
            errors.append(error)
            tried.append((Candidate(slot, None, error.reason), None))
            continue
        candidate = Candidate(slot, seconds, fault, artifact.estimate)
        tried.append((candidate, None if fault else artifact))
        if not timed:
            break
    built = [(candidate, artifact) for candidate, artifact in tried if artifact is not None]
    if not built:
        raise errors[0] if errors else _disagreement(source, tried[0][0])
    winner, artifact = min(built, key=lambda pair: pair[0].seconds or 0.0)
    choice = Choice(
        source.stage.name, planned, winner.slot, winner.seconds, tuple(c for c, _ in tried)
    )
    return artifact, choice


def _disagreement(source: StageSource, candidate: Candidate) -> EdgeweaveError:
    from edgeweave.targets.errors import BuildError

    return BuildError(
        source.stage.name, candidate.fault, "Report it with the model; it is a fault of edgeweave"
    )


def stage_of(stage: StageModel, engine: Engine, artifact: Artifact) -> BuiltStage:
    """The built stage as the packer takes it."""
    return BuiltStage(
        name=stage.name,
        slot=stage.slot,
        # None: it runs on its board only, whose cores these are
        cores=engine.cores if artifact.host_run in ("measured", None) else (),
        inputs=stage.inputs,
        outputs=stage.outputs,
        predicted_s=0.0,
        artifact=artifact,
        model=_model_beside(stage.model, artifact),
    )


def _model_beside(model: onnx.ModelProto, artifact: Artifact) -> bytes:
    """The stage's ONNX model; weights that the artifact holds in a file are read from there."""
    file = artifact.options.get("weights_file")
    entries = {entry["name"]: entry for entry in artifact.options.get("weights", ())}
    if not file:
        return model.SerializeToString(deterministic=True)
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        entry = entries.get(tensor.name)
        if entry is not None and tensor.data_type != onnx.TensorProto.STRING:
            tensor.raw_data = b""
            set_external_data(tensor, file, entry["offset"], entry["nbytes"])
            for field in ("raw_data", "float_data", "double_data", "int32_data", "int64_data"):
                tensor.ClearField(field)
    return light.SerializeToString(deterministic=True)


def _try(built: BuiltStage, stage: StageModel, sample: Any) -> tuple[float | None, str]:
    """Seconds of a call on the engine's cores, and what is wrong with its outputs ("" if nothing).

    It runs in a thread of its own: runners pin the thread they are opened in.
    """
    outcome: list[tuple[float | None, str]] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            cores = built.cores
            if cores:
                os.sched_setaffinity(0, cores)
            entry = stage_entry(built)
            runner = find_loader(entry, {})(entry, built.artifact.folder, cores)
            try:
                if cores:  # TVM's thread pool narrows the mask of the thread that sets it up
                    os.sched_setaffinity(0, cores)
                fault = agrees(runner, stage, sample)
                times = (
                    [] if fault else time_runners([runner], sample.inputs, cores, least_s=_LEAST_S)
                )
                outcome.append((times[0].seconds if times else None, fault))
            finally:
                runner.close()
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=run, name=f"try-{built.name}")
    thread.start()
    thread.join()
    if failure:
        if isinstance(failure[0], EdgeweaveError):
            raise failure[0]
        return None, f"it fails when run: {failure[0]}".splitlines()[0]
    return outcome[0]
