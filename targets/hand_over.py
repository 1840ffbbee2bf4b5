"""What it takes to hand a value from one engine's worker to another's on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeweave.runtime.pipeline import Pipeline

_BATCHES = 5
_FRAMES = 100


def handover_seconds() -> float:
    """Seconds from the end of a stage to the start of its reader on another engine.

    Two stages that compute nothing run in the runtime's own workers, on the first and the last
    usable core; frames run alone, so the reader's worker sleeps before. Best median of several.
    """
    from edgeweave.runtime.bundle import Bundle
    from edgeweave.runtime.manifest import FORMAT_VERSION, Manifest, StageEntry
    from edgeweave.runtime.pipeline import Pipeline
    from edgeweave.runtime.spec import ValueSpec

    cores = sorted(os.sched_getaffinity(0))
    values = tuple(ValueSpec(name, "tensor(bool)", ()) for name in ("first", "passed", "last"))
    stages = tuple(
        StageEntry(
            name=f"s{i}",
            engine=f"cpu{i}",
            backend="",
            cores=(cores[-i],),
            kind="nothing",
            folder="",
            files=(),
            inputs=(values[i],),
            outputs=(values[i + 1],),
            options={},
            predicted_s=0.0,
            host_run="measured",
        )
        for i in range(2)
    )
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model="",
        model_digest="",
        board="host",
        board_identity="",
        inputs=values[:1],
        outputs=values[2:],
        stages=stages,
        files=(),
        created_with={},
        predicted_latency_s=0.0,
        predicted_interval_s=0.0,
        budget_s=None,
        reference=None,
    )
    loaders = {"nothing": lambda _stage, _folder, _cores: _Nothing()}
    with Pipeline(Bundle(Path(), Path(), manifest, None), loaders=loaders) as pipeline:
        return min(median(_gaps(pipeline)) for _ in range(_BATCHES))


class _Nothing:
    """A runner that hands on what it gets."""

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        return list(inputs)

    def close(self) -> None:
        """Nothing to give back."""


def _gaps(pipeline: Pipeline) -> list[float]:
    """Seconds between the two stages of frames that run alone."""
    import numpy as np

    gaps = []
    for _ in range(_FRAMES):
        pipeline.submit({"first": np.array(True)})
        spans = pipeline.result().spans
        gaps.append(spans["s1"][0] - spans["s0"][1])
    return gaps
