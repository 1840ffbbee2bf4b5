"""A quantised stage as the compiler cuts it: integers at its border, a skip connection, pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Slot, StageModel
from edgeweave.targets.board import Engine, Quantity

ONE = Quantity(1.0, "test")
VENDORS = {
    "rknn": {"tool": "rknn", "target_platform": "rk3588", "core": "1"},
    "tidl": {"tool": "tidl", "soc": "am68pa"},
    "qnn": {"tool": "qnn", "dsp_arch": "v68"},
    "dla": {"tool": "dla", "core": "1"},
    "vip8000": {"tool": "vip8000"},
}


def npu(vendor: dict[str, str], kind: str = "npu") -> Engine:
    """An engine that computes int8 and float16, with that vendor table."""
    peaks = {"int8": ONE, "float16": ONE}
    return Engine("npu0", kind, "", ("handoff",), peaks, ONE, ONE, ONE, vendor=vendor)


class QdqBuilder:
    """Nodes of a quantised graph; every layer is DequantizeLinear, operator, QuantizeLinear."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def constant(self, value: Any) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def dequantised(self, x: str, scale: Any, point: Any, **attributes: int) -> str:
        result = f"{x}_f{len(self.nodes)}"
        pair = [self.constant(np.float32(scale)), self.constant(point)]
        self.nodes.append(
            helper.make_node("DequantizeLinear", [x, *pair], [result], result, **attributes)
        )
        return result

    def layer(
        self, kind: str, inputs: list[str], result: str, scale: float, point: int, **attributes: Any
    ) -> str:
        inner = f"{result}_real"
        self.nodes.append(helper.make_node(kind, inputs, [inner], f"{result}_{kind}", **attributes))
        pair = [self.constant(np.float32(scale)), self.constant(np.int8(point))]
        self.nodes.append(helper.make_node("QuantizeLinear", [inner, *pair], [result], result))
        return result

    def conv_weights(self, depth: int, scale: float) -> list[str]:
        values = self.random.integers(-127, 128, (8, depth, 3, 3), np.int8)
        steps = np.linspace(0.004, 0.02, 8).astype(np.float32)
        weight = self.dequantised(self.constant(values), steps, np.zeros(8, np.int8), axis=0)
        bias = self.random.integers(-500, 500, 8, np.int32)
        zero = np.zeros(8, np.int32)
        return [weight, self.dequantised(self.constant(bias), steps * scale, zero, axis=0)]

    def model(self, outputs: list[str], opset: int = 17) -> onnx.ModelProto:
        infos = [
            helper.make_tensor_value_info(name, TensorProto.INT8, [1, 8, 6, 6])
            for name in ("x", *outputs)
        ]
        graph = helper.make_graph(self.nodes, "stage", infos[:1], infos[1:], self.weights)
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def two_layers(point: int = -3, opset: int = 17) -> onnx.ModelProto:
    """``sum`` = conv(x) + x, int8 in and out; activations have that zero point."""
    build = QdqBuilder()
    x = build.dequantised("x", 0.05, np.int8(point))
    y = build.layer(
        "Conv",
        [x, *build.conv_weights(8, 0.05)],
        "y",
        0.2,
        point,
        pads=[1] * 4,
        kernel_shape=[3, 3],
    )
    left = build.dequantised(y, 0.2, np.int8(point))
    right = build.dequantised("x", 0.05, np.int8(point))
    build.layer("Add", [left, right], "sum", 0.25, point)
    return build.model(["sum"], opset)


def stage_of(model: onnx.ModelProto) -> StageModel:
    """The model as a stage for ``npu0/handoff``."""

    def specs(infos: Any) -> tuple[ValueSpec, ...]:
        return tuple(ValueSpec(i.name, "tensor(int8)", (1, 8, 6, 6)) for i in infos)

    graph = model.graph
    slot = Slot("npu0", "handoff")
    return StageModel("s0", slot, (), model, specs(graph.input), specs(graph.output))


def run_model(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    """ONNX Runtime's outputs without optimisation, which would fuse away what is looked at."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    outputs: list[Any] = session.run(None, feeds)
    return outputs


@pytest.fixture
def frame() -> Any:
    return np.random.default_rng(1).integers(-128, 128, (1, 8, 6, 6), np.int8)


@pytest.fixture(params=sorted(VENDORS))
def vendor(request: pytest.FixtureRequest) -> dict[str, str]:
    """The vendor table of each tool in turn."""
    return VENDORS[request.param]


@pytest.fixture
def make_npu() -> Callable[..., Engine]:
    return npu


@pytest.fixture
def make_model() -> Callable[..., onnx.ModelProto]:
    return two_layers


@pytest.fixture
def make_stage() -> Callable[[onnx.ModelProto], StageModel]:
    return stage_of


@pytest.fixture
def run() -> Callable[..., list[Any]]:
    return run_model


@pytest.fixture
def vendors() -> dict[str, dict[str, str]]:
    return VENDORS


@pytest.fixture
def make_qdq() -> type[QdqBuilder]:
    return QdqBuilder


@pytest.fixture
def stage() -> StageModel:
    return stage_of(two_layers())
