"""Build stages: lower where the backend wants TensorIR, schedule, and hand over to the backend."""

from __future__ import annotations

from pathlib import Path

from edgeweave.compiler.split import StageSource
from edgeweave.targets.backend import Artifact
from edgeweave.targets.board import Engine
from edgeweave.targets.registry import find_backend


def build_stage(source: StageSource, engine: Engine, folder: Path) -> Artifact:
    """Build a stage with its slot's backend into ``folder``.

    Raises BuildError when the backend cannot build it, CompileError when it cannot be lowered.
    """
    backend = find_backend(source.stage.slot.backend)
    lowered = None
    if backend.consumes == "tensorir":
        # TVM takes seconds to import; a stage that needs none of it does not wait
        from edgeweave.compiler.lower import StageBorder, lower_stage
        from edgeweave.schedules.apply import apply_schedules

        target = backend.target(engine)
        border = StageBorder.of(source.stage)
        lowered = apply_schedules(lower_stage(source.parts, border, target), target)
    return backend.build(source.stage, lowered, engine, folder)
