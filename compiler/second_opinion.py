"""A second opinion on stages that run here by a vendor's reference kernels.

The kernels stand for the NPU, so nothing else would tell whether they do. Their outputs are
compared, bit for bit, with what the NPU's integer arithmetic gives by our own evaluation; and that
is compared layer by layer with ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeweave.compiler.layer_check import LayerAgreement, check_layers
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import Loader, Runner, Value, find_loader
from edgeweave.targets.npu_ethos_u.expectation import expectation

KIND = "litert"
MODEL_NAME = "stage.onnx"
STEPS = 2  # a layer of a fixed output scale (tanh, sigmoid) rounds twice


@dataclass(frozen=True)
class StageAgreement:
    """Outputs of a stage by reference kernels and by integer arithmetic, over some calls.

    ``layers`` says how its layers agree with ONNX Runtime in the first of these calls.
    """

    stage: str
    calls: int
    values: int
    differing: int
    layers: LayerAgreement

    @property
    def passed(self) -> bool:
        """Whether all of them are equal, and no layer is off by more than ``STEPS``."""
        return not self.differing and self.layers.steps <= STEPS


@dataclass
class _Calls:
    stage: StageEntry
    folder: Path
    made: list[tuple[list[Value], list[Value]]] = field(default_factory=list)


class Recorder:
    """Notes what such stages are given and return, while ``recording`` is set."""

    def __init__(self) -> None:
        self.recording = False
        self._calls: dict[str, _Calls] = {}

    @property
    def loaders(self) -> dict[str, Loader]:
        """The loaders to open a pipeline with."""
        return {KIND: self._open}

    def _open(self, stage: StageEntry, folder: Path, cores: tuple[int, ...]) -> Runner:
        calls = self._calls.setdefault(stage.name, _Calls(stage, folder))
        return _Recorded(find_loader(stage, {})(stage, folder, cores), self, calls)

    def agreements(self) -> list[StageAgreement]:
        """How the recorded calls compare, by stage."""
        return [_agreement(calls) for calls in self._calls.values() if calls.made]


class _Recorded:
    """A runner that is listened to."""

    def __init__(self, runner: Runner, recorder: Recorder, calls: _Calls) -> None:
        self._runner, self._recorder, self._calls = runner, recorder, calls

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Run once, and note it."""
        outputs = self._runner.run(inputs)
        if self._recorder.recording:
            self._calls.made.append((list(inputs), list(outputs)))
        return outputs

    def close(self) -> None:
        """Close what is listened to."""
        self._runner.close()


def _agreement(calls: _Calls) -> StageAgreement:
    stage = calls.stage
    blob = (calls.folder / stage.options["model"]).read_bytes()
    values = differing = 0
    for inputs, outputs in calls.made:
        given = {spec.name: value for spec, value in zip(stage.inputs, inputs, strict=True)}
        expected = expectation(blob, stage.options, given)
        values += sum(np.asarray(output).size for output in outputs)
        differing += sum(
            int(np.count_nonzero(np.asarray(output) != expected[spec.name]))
            for spec, output in zip(stage.outputs, outputs, strict=True)
        )
    given = {spec.name: value for spec, value in zip(stage.inputs, calls.made[0][0], strict=True)}
    layers = check_layers(calls.folder / MODEL_NAME, given)
    return StageAgreement(stage.name, len(calls.made), values, differing, layers)
