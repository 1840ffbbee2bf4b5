"""Small models, written as text or drawn at random, in the form the front end hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx.shape_inference
import pytest
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeweave.compiler.model import Model
from edgeweave.compiler.types import value_spec

HEADER = '<ir_version: 10, opset_import: ["": 18, "com.microsoft": 1]>\n'


def as_model(proto: onnx.ModelProto) -> Model:
    """The model with inferred types and no rewrites."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    return Model(
        path=Path("model.onnx"),
        proto=inferred,
        original=proto,
        digest="0" * 64,
        inputs=tuple(value_spec(info) for info in inferred.graph.input),
        outputs=tuple(value_spec(info) for info in inferred.graph.output),
        rewrites=(),
    )


@pytest.fixture(scope="session")
def canonical() -> Callable[[str], Model]:
    """A model from a graph in ONNX's text form (operator set 18)."""

    def parse(text: str) -> Model:
        return as_model(onnx.parser.parse_model(HEADER + text))

    return parse


@pytest.fixture(scope="session")
def canonical_proto() -> Callable[[onnx.ModelProto], Model]:
    """A model from a proto."""
    return as_model


SHAPE = [1, 4, 6, 6]
UNARY = ("Relu", "Sigmoid", "Neg", "Softmax", "MaxPool", "Conv1", "Conv3", "BatchNormalization")
BINARY = ("Add", "Mul", "Sub", "Max", "Concat")


@st.composite
def random_dags(draw: st.DrawFn, most_nodes: int = 12) -> onnx.ModelProto:
    """A model of elementwise, convolution, pooling and concatenation nodes, wired at random.

    Every value nobody reads is an output, and some others are as well.
    """
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    values, nodes, weights = ["x0", "x1"], [], {}
    reads: set[str] = set()
    for place in range(draw(st.integers(1, most_nodes))):
        kind = draw(st.sampled_from(UNARY + BINARY))
        # mostly recent values, so that chains form
        near = st.sampled_from(values[-3:])
        given = [draw(near)] if kind in UNARY else [draw(near), draw(st.sampled_from(values))]
        reads |= set(given)
        values.append(f"v{place}")
        for node, made in _nodes(kind, given, values[-1], generator):
            nodes.append(node)
            weights |= made
    made = values[2:]
    extra = draw(st.sets(st.sampled_from(made), max_size=2))
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in ("x0", "x1")],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE)
            for n in made
            if n not in reads or n in extra
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _nodes(
    kind: str, given: list[str], result: str, generator: np.random.Generator
) -> Iterator[tuple[onnx.NodeProto, dict[str, Any]]]:
    """The nodes of one step of a random model, each with the weights it brings."""

    def weight(*shape: int) -> Any:
        return (0.5 * generator.standard_normal(shape)).astype(np.float32)

    if kind == "Concat":
        wide, name = f"{result}_wide", f"{result}_w"
        yield helper.make_node("Concat", given, [wide], axis=1), {}
        yield helper.make_node("Conv", [wide, name], [result]), {name: weight(4, 8, 1, 1)}
    elif kind in ("Conv1", "Conv3"):
        size = int(kind[-1])
        names = [f"{result}_w", f"{result}_b"]
        made = dict(zip(names, (weight(4, 4, size, size), weight(4)), strict=True))
        pads = [size // 2] * 4
        yield helper.make_node("Conv", [*given, *names], [result], pads=pads), made
    elif kind == "BatchNormalization":
        made = {f"{result}_{k}": np.abs(weight(4)) + np.float32(0.5) for k in "sbmv"}
        yield helper.make_node(kind, [*given, *made], [result]), made
    elif kind == "MaxPool":
        yield helper.make_node(kind, given, [result], kernel_shape=[3, 3], pads=[1] * 4), {}
    else:
        yield helper.make_node(kind, given, [result]), {}


@pytest.fixture(scope="session")
def dags() -> Callable[..., st.SearchStrategy[onnx.ModelProto]]:
    """The strategy of random models."""
    return random_dags


def reference(proto: onnx.ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """ONNX Runtime's outputs by name, without its optimiser."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    results = session.run(names, {n: v for n, v in feeds.items() if n in wanted})
    return dict(zip(names, results, strict=True))


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[onnx.ModelProto, Mapping[str, Any]], dict[str, Any]]:
    """Run a model with ONNX Runtime; inputs it does not have are left out."""
    return reference


@pytest.fixture(scope="session")
def frame() -> dict[str, Any]:
    """Inputs of a random model."""
    generator = np.random.default_rng(7)
    return {name: generator.standard_normal(SHAPE).astype(np.float32) for name in ("x0", "x1")}
