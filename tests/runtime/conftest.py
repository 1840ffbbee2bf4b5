"""Small real bundles: ONNX models of a node or two, built and packed as the compiler does it."""

from __future__ import annotations

import gc
import platform
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgeweave.compiler.pack import BuiltStage, BundleContent, pack
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Slot, StageModel
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.onnxruntime import BACKEND

ONE = Quantity(1.0, "test")


def spec(name: str, shape: Sequence[int | None] | None = (4,), kind: str = "tensor(float)") -> Any:
    return ValueSpec(name, kind, None if shape is None else tuple(shape))


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "stage", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def floats(name: str, shape: Sequence[int] = (4,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def scaled(source: str, result: str, operator: str, factor: float) -> onnx.ModelProto:
    """``result = source <operator> factor`` on four floats."""
    node = helper.make_node(operator, [source, f"{result}_factor"], [result])
    constant = helper.make_tensor(f"{result}_factor", TensorProto.FLOAT, [], [factor])
    return model([node], [floats(source)], [floats(result)], [constant])


def engine(name: str = "cpu0", cores: tuple[int, ...] = (), kind: str = "cpu") -> Engine:
    return Engine(
        name=name,
        kind=kind,
        description="",
        backends=("onnxruntime",),
        peak_gops={"float32": ONE},
        compute_efficiency=ONE,
        memory_efficiency=ONE,
        call_overhead_us=ONE,
        cores=cores,
        llvm_target={"mtriple": f"{platform.machine()}-linux-gnu"},
    )


def stage(
    name: str,
    engine_name: str,
    proto: onnx.ModelProto,
    inputs: Sequence[ValueSpec],
    outputs: Sequence[ValueSpec],
    cores: tuple[int, ...] = (),
) -> BuiltStage:
    slot = Slot(engine_name, "onnxruntime")
    unbuilt = StageModel(name, slot, (), proto, tuple(inputs), tuple(outputs))
    folder = Path(tempfile.mkdtemp())
    artifact = BACKEND.build(unbuilt, None, engine(engine_name, cores), folder)
    return BuiltStage(
        name, slot, cores, tuple(inputs), tuple(outputs), 1e-3, artifact, proto.SerializeToString()
    )


def content(
    stages: Sequence[BuiltStage],
    inputs: Sequence[ValueSpec],
    outputs: Sequence[ValueSpec],
    reference: onnx.ModelProto | None = None,
) -> BundleContent:
    return BundleContent(
        model="model.onnx",
        model_digest="0" * 64,
        board="host",
        board_identity="test",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        stages=tuple(stages),
        plan={"stages": len(stages)},
        reference=None if reference is None else reference.SerializeToString(),
        predicted_latency_s=2e-3,
        predicted_interval_s=1e-3,
        budget_s=0.035,
    )


def diamond_content() -> BundleContent:
    """Four stages on two engines: a = x + 1, b = 2a, c = 3a, y = b + c."""
    add = model(
        [helper.make_node("Add", ["b", "c"], ["y"])], [floats("b"), floats("c")], [floats("y")]
    )
    stages = [
        stage("s0", "cpu0", scaled("x", "a", "Add", 1), [spec("x")], [spec("a")]),
        stage("s1", "cpu1", scaled("a", "b", "Mul", 2), [spec("a")], [spec("b")]),
        stage("s2", "cpu0", scaled("a", "c", "Mul", 3), [spec("a")], [spec("c")]),
        stage("s3", "cpu1", add, [spec("b"), spec("c")], [spec("y")]),
    ]
    whole = model(
        [
            helper.make_node("Add", ["x", "one"], ["a"]),
            helper.make_node("Mul", ["a", "five"], ["y"]),
        ],
        [floats("x")],
        [floats("y")],
        [
            helper.make_tensor("one", TensorProto.FLOAT, [], [1]),
            helper.make_tensor("five", TensorProto.FLOAT, [], [5]),
        ],
    )
    return content(stages, [spec("x")], [spec("y")], whole)


@pytest.fixture(scope="session")
def builders() -> Any:
    """The functions of this file, for tests that make bundles of their own."""
    return SimpleNamespace(
        spec=spec,
        model=model,
        floats=floats,
        scaled=scaled,
        engine=engine,
        stage=stage,
        content=content,
        diamond_content=diamond_content,
    )


@pytest.fixture(scope="session")
def packed_diamond(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The diamond as a directory and as a tar; copy before changing."""
    made = diamond_content()
    folder = tmp_path_factory.mktemp("diamond")
    return {
        "folder": pack(made, folder / "d.bundle"),
        "tar": pack(made, folder / "d.tar"),
    }


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[[BundleContent], Path]:
    """Pack a content into a directory of this test."""
    return lambda made: pack(made, tmp_path / "made.bundle")


@pytest.fixture
def in_thread() -> Any:
    """Call a function in a thread of its own, so that what it pins ends with it."""

    def call(body: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(body).result()

    return call


@pytest.fixture
def no_thread_stays():
    """Fail a test that leaves a worker of a pipeline behind."""
    yield
    gc.collect()
    left = [t.name for t in threading.enumerate() if t.name.startswith("edgeweave-")]
    assert left == []
