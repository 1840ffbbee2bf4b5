"""Runs an ONNX stage with ONNX Runtime on the CPU, for every type that ONNX Runtime has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgeweave.runtime import ort_values
from edgeweave.runtime.errors import BundleError, RuntimeFault
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import Value, first_line

MODEL_NAME = "stage.onnx"


def open_runner(stage: StageEntry, folder: Path, cores: tuple[int, ...]) -> OnnxRuntimeRunner:
    """Open ``stage.onnx`` with one thread per core of the stage, or one when it is not pinned."""
    runner = OnnxRuntimeRunner(folder / MODEL_NAME, max(1, len(cores)))
    for role, specs, names in (
        ("inputs", stage.inputs, runner.input_names),
        ("outputs", stage.outputs, runner.output_names),
    ):
        declared = tuple(spec.name for spec in specs)
        if declared != names:
            raise BundleError(
                f"stage {stage.name}",
                f"its model has the {role} {list(names)}, and the manifest {list(declared)}",
                "Pack the model again",
            )
    return runner


class OnnxRuntimeRunner:
    """An ONNX model in a session of its own; ``threads`` counts the calling thread."""

    def __init__(self, model: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # warnings about the model are the compiler's business
        # an engine that waits for its next frame must not burn the cores that others share
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise RuntimeFault(
                model.name,
                f"ONNX Runtime {onnxruntime.__version__} cannot open it ({first_line(error)})",
                "Install the ONNX Runtime that the bundle's manifest names",
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.input_names = tuple(value.name for value in inputs)
        self.output_names = tuple(value.name for value in outputs)
        self._input_types = tuple(value.type for value in inputs)
        self._output_types = tuple(value.type for value in outputs)
        # numpy cannot hold what these models return, so their outputs are read as raw bytes
        self._raw = any(ort_values.needs_ort_value(kind) for kind in self._output_types)

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Run once; values in the order of ``input_names`` and ``output_names``."""
        if self._raw:
            return self._run_raw(inputs)
        feed = {
            name: _fed(value, kind)
            for name, value, kind in zip(self.input_names, inputs, self._input_types, strict=True)
        }
        outputs: list[Value] = self._session.run(list(self.output_names), feed)
        return outputs

    def _run_raw(self, inputs: Sequence[Value]) -> list[Value]:
        feed: dict[str, Any] = {
            name: ort_values.to_ort_value(value, kind)
            for name, value, kind in zip(self.input_names, inputs, self._input_types, strict=True)
        }
        outputs = self._session.run_with_ort_values(list(self.output_names), feed)
        return [ort_values.from_ort_value(value) for value in outputs]

    def close(self) -> None:
        """Free the session and its threads."""
        del self._session


def _fed(value: Value, kind: str) -> Value:
    if ort_values.needs_ort_value(kind):
        return ort_values.to_ort_value(value, kind)
    # a numpy scalar is an array to everyone but ONNX Runtime
    return np.asarray(value) if kind.startswith("tensor(") else value
