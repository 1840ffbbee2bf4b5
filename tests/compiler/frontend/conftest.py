"""Small models for the tests of the front end, and an independent check of what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeweave.compiler.model import Model

Build = Callable[..., onnx.ModelProto]


@pytest.fixture
def build() -> Build:
    """Builds a model from ONNX's text form of a graph and the arrays of its weights."""

    def build_model(
        graph: str, weights: Mapping[str, np.ndarray] | None = None, opset: int = 17
    ) -> onnx.ModelProto:
        header = f'<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
        proto = onnx.parser.parse_model(f"{header} {graph}")
        for name, array in (weights or {}).items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return proto

    return build_model


@pytest.fixture
def counts() -> Callable[[Model], dict[str, int]]:
    """How often each rewrite applied."""
    return lambda model: {rewrite.name: rewrite.count for rewrite in model.rewrites}


@pytest.fixture
def operators() -> Callable[[Model], list[str]]:
    """The operator types of the canonical graph, in order."""
    return lambda model: [node.op_type for node in model.proto.graph.node]


@pytest.fixture
def run() -> Callable[..., list[np.ndarray]]:
    """Runs a proto on arrays, or on seeded random float32 arrays, in ONNX Runtime."""

    def run_model(proto: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        generator = np.random.default_rng(7)
        for value in session.get_inputs():
            if value.name not in feeds:
                feeds[value.name] = generator.standard_normal(value.shape).astype(np.float32)
        results: list[np.ndarray] = session.run(None, feeds)
        return results

    return run_model
