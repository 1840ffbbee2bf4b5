"""Tiny float models, quantised here operator by operator, and run three ways.

``check`` quantises a float model, emits it, compiles it with Vela for an Ethos-U65, and compares
LiteRT's reference kernels with ONNX Runtime on the QDQ model, over inputs of the whole int8 range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeweave.targets.npu_ethos_u.accelerator import read_accelerator
from edgeweave.targets.npu_ethos_u.emit.stage import TfliteModel, emit_stage
from edgeweave.targets.npu_ethos_u.vela import Vela

# inputs that stay as they are; the others become int8 values and constants
PARAMETERS: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Split", "Expand"), (1,)),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), (1,)),
    **dict.fromkeys(("Slice", "Pad", "Resize"), (1, 2, 3, 4)),
    "Clip": (1, 2),
}
BIASED = ("Conv", "ConvTranspose", "Gemm")
BOUNDING = ("Relu", "Clip")
KEEPING = ("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Resize")


@dataclass
class Quantiser:
    """Puts a Q behind every result of a float model, and a DQ before every reader.

    Scales come from the ranges over random inputs, whose deviation is ``spread``. ``keep`` gives
    the results of operators that only move numbers the scale of what they read. ``plain`` names
    constants that stay float.
    """

    model: onnx.ModelProto
    keep: bool = False
    uint8: bool = False
    spread: float = 3.0
    plain: Sequence[str] = ()
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        self.floats = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        ranges = self._ranges()
        readers = Counter(name for node in graph.node for name in node.input)
        for name, (low, high) in ranges.items():
            self._choose(name, low, high)
        for node in graph.node if self.keep else ():
            if node.op_type in KEEPING:
                self.scales[node.output[0]] = self.scales[node.input[0]]
        taken = {info.name for info in graph.input}
        tails = {
            node.input[0]
            for node in graph.node
            if node.op_type in BOUNDING and node.input[0] not in taken
        }
        tails = {name for name in tails if readers[name] == 1}
        for node in graph.node:
            self._node(node, tails)
        kind = TensorProto.UINT8 if self.uint8 else TensorProto.INT8
        borders = [
            [helper.make_tensor_value_info(f"{i.name}/q", kind, _shape(i)) for i in infos]
            for infos in (graph.input, graph.output)
        ]
        initializers = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        quantised = helper.make_graph(self.nodes, "q", *borders, initializers)
        return helper.make_model(quantised, opset_imports=self.model.opset_import, ir_version=10)

    def _ranges(self) -> dict[str, tuple[float, float]]:
        probe = onnx.ModelProto.FromString(self.model.SerializeToString())
        names = [name for node in self.model.graph.node for name in node.output]
        del probe.graph.output[:]
        probe.graph.output.extend([helper.make_empty_tensor_value_info(name) for name in names])
        session = onnxruntime.InferenceSession(probe.SerializeToString())
        draw = np.random.default_rng(1)
        seen: dict[str, list[np.ndarray]] = {}
        for _ in range(4):
            feed = {
                i.name: self.spread * draw.standard_normal(_shape(i)).astype(np.float32)
                for i in self.model.graph.input
            }
            results = dict(zip(names, session.run(names, feed), strict=True))
            for name, values in (results | feed).items():
                seen.setdefault(name, []).append(values)
        return {
            name: (min(0.0, *(v.min() for v in values)), max(0.0, *(v.max() for v in values)))
            for name, values in seen.items()
        }

    def _choose(self, name: str, low: float, high: float) -> None:
        least = 0 if self.uint8 else -128
        scale = np.float32(max((high - low) / 255, 1e-6))
        zero = np.clip(np.rint(least - low / scale), least, least + 255)
        self.scales[name] = scale, zero.astype(np.uint8 if self.uint8 else np.int8)

    def _constant(self, name: str, values: np.ndarray) -> str:
        self.constants[name] = np.asarray(values)
        return name

    def _parameters(self, name: str) -> list[str]:
        scale, zero = self.scales[name]
        return [self._constant(f"{name}/scale", scale), self._constant(f"{name}/zero", zero)]

    def _node(self, node: onnx.NodeProto, tails: set[str]) -> None:
        inputs: list[str] = []
        weights = np.zeros(0)
        for place, name in enumerate(node.input):
            if not name or (name in tails and node.op_type in BOUNDING):
                inputs.append(name)
            elif name not in self.floats:
                read = f"{name}/dq{len(self.nodes)}"
                given = [f"{name}/q", *self._parameters(name)]
                self.nodes.append(helper.make_node("DequantizeLinear", given, [read]))
                inputs.append(read)
            elif place in PARAMETERS.get(node.op_type, ()) or name in self.plain:
                inputs.append(self._constant(name, self.floats[name]))
            elif place == 2 and node.op_type in BIASED:
                scale = self.scales[node.input[0]][0] * weights
                inputs.append(self._dequantised(name, 2**31 - 1, np.int32, scale, 0))
            else:
                axis = _channels(node, place)
                axes = tuple(a for a in range(self.floats[name].ndim) if a != axis)
                largest = np.abs(self.floats[name]).max(axis=None if axis is None else axes)
                weights = (np.maximum(largest, 1e-6) / 127).astype(np.float32)
                inputs.append(self._dequantised(name, 127, np.int8, weights, axis or 0))
        made = helper.make_node(node.op_type, inputs, node.output, name=node.name)
        made.attribute.extend(node.attribute)
        self.nodes.append(made)
        for name in node.output:
            if name not in tails:
                given = [name, *self._parameters(name)]
                self.nodes.append(helper.make_node("QuantizeLinear", given, [f"{name}/q"]))

    def _dequantised(self, name: str, most: int, kind: type, scale: np.ndarray, axis: int) -> str:
        values, read = self.floats[name], f"{name}/dq{len(self.nodes)}"
        shape = [1] * values.ndim
        if scale.ndim:
            shape[axis] = -1
        numbers = np.clip(np.rint(values / scale.reshape(shape)), -most, most).astype(kind)
        given = [
            self._constant(f"{read}/numbers", numbers),
            self._constant(f"{read}/scale", scale.astype(np.float32)),
        ]
        along = {"axis": axis} if scale.ndim else {}
        self.nodes.append(helper.make_node("DequantizeLinear", given, [read], **along))
        return read


def _channels(node: onnx.NodeProto, place: int) -> int | None:
    """The axis of weights that has scales of its own."""
    if place != 1:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "ConvTranspose":
        return 1 if attributes.get("group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attributes.get("transB") else 1
    return {"Conv": 0, "MatMul": 1}.get(node.op_type)


def _shape(info: onnx.ValueInfoProto) -> list[int]:
    return [size.dim_value for size in info.type.tensor_type.shape.dim]


@dataclass(frozen=True)
class Outcome:
    """``difference`` is the largest in int8 numbers; ``codes`` are the TFLite operators."""

    tflite: TfliteModel
    difference: int
    codes: list[str]


def node(kind: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), name=f"{kind}-{outputs}", **attributes)


def float_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int]],
    constants: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    opset: int,
) -> onnx.ModelProto:
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(list(nodes), "float", infos, results, initializers)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def run_onnx(model: onnx.ModelProto, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The QDQ model as it is written: no optimisation of ONNX Runtime's."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [info.name for info in model.graph.input]
    return list(session.run(None, dict(zip(names, inputs, strict=True))))


def run_tflite(tflite: TfliteModel, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """LiteRT's reference kernels; values lie as ONNX has them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=tflite.blob, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    for details, border, value in zip(
        interpreter.get_input_details(), tflite.inputs, inputs, strict=True
    ):
        laid = value.transpose(border.permutation) if border.permutation else value
        interpreter.set_tensor(details["index"], laid)
    interpreter.invoke()
    results = []
    for details, border in zip(interpreter.get_output_details(), tflite.outputs, strict=True):
        value = interpreter.get_tensor(details["index"])
        results.append(value.transpose(border.permutation) if border.permutation else value)
    return results


def codes_of(blob: bytes) -> list[str]:
    """The names of a TFLite model's operators, in order."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(blob))
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


@pytest.fixture(scope="session")
def compile_u65(process, npu) -> Iterator[Callable[[bytes], None]]:
    """Compiles for an Ethos-U65 of 256; an operator that Vela leaves to a CPU is an error."""
    vela, accelerator = Vela(process), read_accelerator(npu("u65"))
    return lambda blob: vela.compile(blob, accelerator, "test")


@pytest.fixture(scope="session")
def quantised() -> Callable[..., onnx.ModelProto]:
    """``quantised(nodes, inputs, constants, outputs, opset, **Quantiser's)``: a QDQ model."""

    def make(nodes, inputs, constants=None, outputs=("y",), opset=18, **how):
        model = float_model(nodes, inputs, constants or {}, outputs, opset)
        return Quantiser(model, **how).run()

    return make


@pytest.fixture(scope="session")
def compare(compile_u65) -> Callable[[onnx.ModelProto], Outcome]:
    """A QDQ model, emitted, compiled, and run by LiteRT and by ONNX Runtime."""

    def run(model: onnx.ModelProto) -> Outcome:
        tflite = emit_stage(model, "test")
        compile_u65(tflite.blob)
        difference = 0
        draw = np.random.default_rng(7)
        for _ in range(2):
            inputs = [
                draw.integers(0, 256, _shape(info)).astype(np.uint8)
                if info.type.tensor_type.elem_type == TensorProto.UINT8
                else draw.integers(-128, 128, _shape(info)).astype(np.int8)
                for info in model.graph.input
            ]
            wanted, got = run_onnx(model, inputs), run_tflite(tflite, inputs)
            for one, other in zip(wanted, got, strict=True):
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
                apart = np.abs(one.astype(int) - other.astype(int)).max()
                difference = max(difference, int(apart))
        return Outcome(tflite, difference, codes_of(tflite.blob))

    return run


@pytest.fixture(scope="session")
def check(quantised, compare) -> Callable[..., Outcome]:
    """``quantised`` and then ``compare``."""
    return lambda *args, **how: compare(quantised(*args, **how))


@pytest.fixture(scope="session")
def n() -> Callable[..., onnx.NodeProto]:
    """``n("Conv", "x w b", "y", pads=[1] * 4)``: a node; ``-`` is an input that is left out."""
    return node


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    """Random floats of a shape."""
    generator = np.random.default_rng(3)
    return lambda *shape: generator.standard_normal(shape).astype(np.float32)
