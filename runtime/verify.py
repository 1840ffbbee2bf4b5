"""Comparing a bundle's outputs with those of the original model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from edgeweave.runtime.bundle import Bundle
from edgeweave.runtime.compare import OutputDifference, Tolerance, compare, explained, worse
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.input_check import check_inputs
from edgeweave.runtime.manifest import Manifest
from edgeweave.runtime.nudge import nudged
from edgeweave.runtime.pipeline import Pipeline
from edgeweave.runtime.runners import Runner, Value

# Steps that an output of a quantised model may be off.
STEPS = 2
_ROUNDED = 1 + 1e-5  # a whole number of steps is no exact number of float32


class RunsFrames(Protocol):
    """What runs a bundle: a pipeline here, or its stages elsewhere."""

    def run(self, frame: Mapping[str, Any]) -> Mapping[str, Value]:
        """Run one frame and return its outputs by name."""
        ...


@dataclass(frozen=True)
class Verification:
    """Outputs of ``frames`` frames against ONNX Runtime's.

    ``output_steps`` are the manifest's: the outputs that may be ``STEPS`` of these off.
    """

    frames: int
    tolerance: Tolerance
    outputs: tuple[OutputDifference, ...]
    output_steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every output of every frame agrees."""
        return all(output.passed for output in self.outputs)


def verify(
    bundle: Bundle,
    frames: Iterable[Mapping[str, Any]],
    tolerance: Tolerance | None = None,
    pipeline: RunsFrames | None = None,
) -> Verification:
    """Run frames through the bundle and through its reference model, and compare.

    The reference runs on one thread with ONNX Runtime's default optimisation. ``pipeline`` is what
    runs the bundle when something does already. RuntimeFault when the bundle carries no reference.
    """
    if pipeline is None:
        with Pipeline(bundle) as own:
            return verify(bundle, frames, tolerance, own)
    with closing(_Reference(bundle)) as reference:
        given = list(frames)
        pairs = ((reference.run(frame), pipeline.run(frame)) for frame in given)
        return compare_frames(
            bundle.manifest,
            pairs,
            tolerance or Tolerance(),
            lambda index: reference.run(nudged(given[index], index)),
        )


def reference_outputs(
    bundle: Bundle, frames: Iterable[Mapping[str, Any]]
) -> list[dict[str, Value]]:
    """Each frame's outputs of the reference model, as :func:`verify` runs it."""
    with closing(_Reference(bundle)) as reference:
        return [reference.run(frame) for frame in frames]


def compare_frames(
    manifest: Manifest,
    pairs: Iterable[tuple[Mapping[str, Value], Mapping[str, Value]]],
    tolerance: Tolerance,
    moved: Callable[[int], Mapping[str, Value]],
) -> Verification:
    """Compare the outputs of frames, expected and actual; RuntimeFault when there are none.

    An output of a quantised model may also be ``STEPS`` of its quantisation steps off; or as far as
    the reference itself moves: ``moved`` gives its outputs for a frame, by number, whose inputs are
    nudged.
    """
    names = [spec.name for spec in manifest.outputs]
    allowed = {name: _with_steps(tolerance, manifest.output_steps.get(name)) for name in names}
    worst: dict[str, OutputDifference] = {}
    count = 0
    for expected, actual in pairs:
        own: Mapping[str, Value] | None = None
        for name in names:
            found = compare(name, actual[name], expected[name], allowed[name])
            if not found.passed and name in manifest.output_steps:
                own = own or moved(count)
                found = explained(found, compare(name, own[name], expected[name], allowed[name]))
            worst[name] = worse(worst[name], found) if name in worst else found
        count += 1
    if not count:
        raise RuntimeFault("verification", "has no frame to compare", "Give at least one")
    outputs = tuple(worst[name] for name in names)
    return Verification(count, tolerance, outputs, manifest.output_steps)


def _with_steps(tolerance: Tolerance, step: float | None) -> Tolerance:
    """Room for steps, which are no rounding of the last bits: each layer may round differently."""
    if step is None:
        return tolerance
    return replace(tolerance, atol=max(tolerance.atol, STEPS * step * _ROUNDED), steps=STEPS)


class _Reference:
    """The original model inside the bundle."""

    def __init__(self, bundle: Bundle) -> None:
        from edgeweave.runtime.onnxruntime_runner import OnnxRuntimeRunner

        if bundle.reference is None:
            raise RuntimeFault(
                str(bundle.path), "carries no reference model", "Pack the model again with it"
            )
        runner = OnnxRuntimeRunner(bundle.reference, threads=1)
        self._specs = bundle.manifest.inputs
        self._input_names, self._output_names = runner.input_names, runner.output_names
        self._runner: Runner = runner

    def run(self, frame: Mapping[str, Any]) -> dict[str, Value]:
        values = check_inputs(self._specs, frame)
        missing = [name for name in self._input_names if name not in values]
        if missing:
            raise RuntimeFault(
                "reference model", f"has the input {missing[0]!r}, which the bundle does not have"
            )
        outputs = self._runner.run([values[name] for name in self._input_names])
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        self._runner.close()
