"""One frame on its way through the stages, and what is handed back at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeweave.runtime.errors import StageFailure
from edgeweave.runtime.manifest import Manifest
from edgeweave.runtime.runners import Value


@dataclass(frozen=True)
class FrameResult:
    """What became of one frame.

    ``frame`` counts the frames submitted to the pipeline, from 0. ``outputs`` is empty when
    ``failure`` is set. ``spans`` holds start and end of each stage that ran, and ``finished_at``
    the end of the last, in seconds of ``time.perf_counter``. ``latency_s`` runs from the frame's
    admission to that end; in a full pipeline it holds the time spent waiting for an engine.
    """

    frame: int
    outputs: Mapping[str, Value]
    latency_s: float
    spans: Mapping[str, tuple[float, float]]
    finished_at: float
    failure: StageFailure | None = None

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds that each stage ran."""
        return {name: end - start for name, (start, end) in self.spans.items()}


@dataclass(frozen=True)
class Flow:
    """Which stage reads which value, derived once from a manifest.

    ``inputs[s]`` are the distinct values that stage ``s`` reads; ``readers`` are the stages that
    read a value; ``outputs`` are the model's output names, which are kept to the end.
    """

    inputs: tuple[frozenset[str], ...]
    readers: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Flow:
        """The flow of a manifest's values."""
        inputs = tuple(frozenset(spec.name for spec in s.inputs) for s in manifest.stages)
        readers: dict[str, list[int]] = {}
        for index, names in enumerate(inputs):
            for name in names:
                readers.setdefault(name, []).append(index)
        return cls(
            inputs,
            {name: tuple(stages) for name, stages in readers.items()},
            tuple(spec.name for spec in manifest.outputs),
        )


@dataclass
class Frame:
    """A frame in flight: the values that are still needed, and the stages that still wait.

    The scheduler's lock guards all of it. ``left`` counts the stages that have not run.
    """

    flow: Flow
    number: int
    submitted_at: float
    values: dict[str, Value] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    left: int = 0
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    finished_at: float | None = None
    failure: StageFailure | None = None

    def __post_init__(self) -> None:
        self.missing = [len(names) for names in self.flow.inputs]
        self.left = len(self.missing)

    def store(self, name: str, value: Value) -> list[int]:
        """Keep a value for as long as it is needed; the stages it makes ready."""
        readers = self.flow.readers.get(name, ())
        uses = len(readers) + (name in self.flow.outputs)
        if uses:
            self.values[name] = value
            self.uses[name] = uses
        for stage in readers:
            self.missing[stage] -= 1
        return [stage for stage in readers if self.missing[stage] == 0]

    def release(self, stage: int) -> None:
        """Drop the values whose last reader was this stage."""
        for name in self.flow.inputs[stage]:
            self.uses[name] -= 1
            if not self.uses[name]:
                del self.values[name], self.uses[name]

    def finish(self, now: float, failure: StageFailure | None = None) -> None:
        """Close the frame; after a failure, or when it is dropped, its values are freed."""
        self.finished_at = now
        self.failure = failure
        if failure is not None:
            self.values.clear()

    def result(self) -> FrameResult:
        """The result of a finished frame."""
        end = self.submitted_at if self.finished_at is None else self.finished_at
        outputs = {} if self.failure else {name: self.values[name] for name in self.flow.outputs}
        latency = end - self.submitted_at
        return FrameResult(self.number, outputs, latency, self.spans, end, self.failure)
