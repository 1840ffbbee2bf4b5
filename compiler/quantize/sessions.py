"""Runs of a model in ONNX Runtime while it is quantised."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import onnx

from edgeweave.compiler.quantize.calibration import Frame


class Session:
    """A model in ONNX Runtime, on the CPUs that this process may use and without its optimiser.

    What a quantised model computes is then what it says: nothing is fused.
    """

    def __init__(self, proto: onnx.ModelProto, outputs: Sequence[str] | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.outputs: tuple[str, ...] = tuple(
            outputs or (output.name for output in self._session.get_outputs())
        )

    def run(self, frame: Frame) -> list[Any]:
        """The outputs for one frame, in the order of ``outputs``."""
        return list(self._session.run(list(self.outputs), frame))
