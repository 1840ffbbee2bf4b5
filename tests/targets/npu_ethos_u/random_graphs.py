"""Random small QDQ graphs: what they are, and how one grows; random_operators.py draws operators.

A graph grows operator by operator. Each is run by ONNX Runtime on numbers as soon as it is drawn,
so shapes are right, what is invalid is dropped, and scales come from the results' range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

T = TypeVar("T")
Integer = Callable[[int, int], int]  # draws an integer from low to high, both included
_KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
REQUANTISE = "Requantise"  # no operator of ONNX: a value that is dequantised and quantised again
_LARGEST = 6000  # elements of a value
_FARTHEST = 1e6  # of a real value from 0


@dataclass(frozen=True)
class Value:
    """A quantised value: ``numbers`` are what it holds for the inputs of the graph."""

    name: str
    numbers: np.ndarray
    scale: np.float32
    zero_point: int

    @property
    def dtype(self) -> str:
        return str(self.numbers.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    @property
    def real(self) -> np.ndarray:
        return (self.numbers.astype(np.float32) - self.zero_point) * self.scale


@dataclass(frozen=True)
class Constant:
    """A constant that the operator reads dequantised; several scales are along ``axis``."""

    numbers: np.ndarray
    scales: np.ndarray
    zero_point: int = 0
    axis: int = 0

    @property
    def real(self) -> np.ndarray:
        shape = [1] * self.numbers.ndim
        if self.scales.size > 1:
            shape[self.axis] = self.scales.size
        shifted = self.numbers.astype(np.float32) - self.zero_point
        return shifted * self.scales.astype(np.float32).reshape(shape)


Operand = Value | Constant | np.ndarray | None


@dataclass(frozen=True)
class Node:
    """An operator that was drawn; an operand that is an array stays as it is, None is left out."""

    kind: str
    operands: Sequence[Operand]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1


@dataclass(frozen=True)
class Block:
    """An operator with a tail, from quantised values to quantised values."""

    node: Node
    tail: tuple[float, float] | None
    results: tuple[Value, ...]


@dataclass(frozen=True)
class RandomGraph:
    """Inputs, blocks in order, and the values that are the graph's outputs."""

    inputs: tuple[Value, ...]
    blocks: tuple[Block, ...]
    outputs: tuple[Value, ...]
    opset: int

    def model(self, every_value: bool = False) -> onnx.ModelProto:
        """The QDQ model; with every value that a block makes as an output, or with its own."""
        outputs = (
            [v for block in self.blocks for v in block.results] if every_value else self.outputs
        )
        return _build(self, self.inputs, outputs, "")

    def opened(self) -> onnx.ModelProto:
        """The blocks side by side: values are inputs, and results are named ``<value>/again``."""
        results = [v for block in self.blocks for v in block.results]
        return _build(self, [*self.inputs, *results], results, "/again")

    def __str__(self) -> str:
        return " ".join(block.node.kind for block in self.blocks)


def run_float(kind: str, arrays: Sequence[np.ndarray | None], node: Node, opset: int) -> list[Any]:
    """What ONNX Runtime makes of an operator in float32; raises where the operator is invalid."""
    if kind == REQUANTISE:
        return [arrays[0]]
    names = [f"i{k}" if array is not None else "" for k, array in enumerate(arrays)]
    outputs = [f"o{k}" for k in range(node.outputs)]
    made = helper.make_node(kind, names, outputs, **node.attributes)
    tensors = [
        numpy_helper.from_array(array, name)
        for array, name in zip(arrays, names, strict=True)
        if array is not None
    ]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    return run_model(_model(helper.make_graph([made], "one", [], infos, tensors), opset), {})


def run_model(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The model's outputs by ONNX Runtime without any optimisation: as the graph is written."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(value) for value in session.run(None, feeds)]


Operators = Sequence[Callable[["Drawing", Value], Node | None]]


class Drawing:
    """A graph in the making, by choices that ``integer`` makes."""

    def __init__(self, integer: Integer, operators: Operators) -> None:
        self.integer = integer
        self.operators = operators
        self.random = np.random.default_rng(integer(0, 2**31))
        self.opset = self.pick([17, 20])
        self.values: list[Value] = []
        self.blocks: list[Block] = []

    def pick(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(1, 100) > 100 - percent

    def draw(self) -> RandomGraph:
        """A graph of 1 to 6 operators; fewer where none fits."""
        rank = self.pick([4, 4, 4, 4, 2, 2, 3])
        sizes = [2 if self.chance(5) else 1, self.integer(1, 19)]
        sizes += [self.integer(1, 14) for _ in range(rank - 2)]
        inputs = [self.input(sizes)]
        if self.chance(30):
            inputs.append(self.input(sizes if self.chance(60) else [*sizes[:2], *[1] * (rank - 2)]))
        for _ in range(self.integer(1, 6)):
            for _ in range(8):  # until one fits
                node = self.pick(self.operators)(self, self.some())
                if node is not None and self.apply(node):
                    break
        read = {o.name for b in self.blocks for o in b.node.operands if isinstance(o, Value)}
        made = [v for block in self.blocks for v in block.results]
        outputs = [v for v in made if v.name not in read or self.chance(15)]
        kept = tuple(v for v in inputs if v.name in read)
        return RandomGraph(kept, tuple(self.blocks), tuple(outputs), self.opset)

    def input(self, shape: Sequence[int]) -> Value:
        dtype = self.pick(["int8"] * 3 + ["uint8"])
        info = np.iinfo(dtype)
        numbers = self.random.integers(info.min, info.max + 1, shape).astype(dtype)
        zero_point = self.pick([0, info.min, 128 + info.min, self.integer(info.min, info.max)])
        scale = np.float32(self.pick([1 / 256, 1 / 128, 0.02, 0.03]) * (1 + self.random.random()))
        value = Value(f"x{len(self.values)}", numbers, scale, zero_point)
        self.values.append(value)
        return value

    def some(self) -> Value:
        """Mostly the newest value, so that chains are long."""
        fitting = [value for value in self.values if len(value.shape) > 1]
        return fitting[-1] if self.chance(65) else self.pick(fitting)

    def apply(self, node: Node) -> bool:
        """Run the operator and its tail on the numbers at hand; False where that is no operator."""
        arrays = [getattr(o, "real", o) for o in node.operands]
        try:
            results = run_float(node.kind, arrays, node, self.opset)
        except Exception:  # noqa: BLE001 - ONNX Runtime's errors have no common base
            return False
        if any(not r.size or r.size > _LARGEST or not np.abs(r).max() < _FARTHEST for r in results):
            return False
        tail = self.pick(_TAILS) if node.outputs == 1 else None
        if tail is not None:
            results = [np.clip(r, np.float32(tail[0]), np.float32(tail[1])) for r in results]
        made = tuple(self.quantise(node, r, k) for k, r in enumerate(results))
        self.blocks.append(Block(node, tail, made))
        self.values += made
        return True

    def quantise(self, node: Node, real: np.ndarray, part: int) -> Value:
        """A result at a plausible scale: its operand's, a fixed one, or one from its range."""
        name = f"v{len(self.blocks)}_{part}"
        first = node.operands[0]
        if node.kind in _KEEPS and isinstance(first, Value) and self.chance(60):
            return _quantised(name, real, first.scale, first.zero_point, first.dtype)
        if node.kind in ("Sigmoid", "Softmax") and self.chance(60):
            return _quantised(name, real, np.float32(1 / 256), -128, "int8")
        dtype = self.pick(["int8"] * 5 + ["uint8"])
        factor = self.pick([1.0, 1.0, 0.8, 0.5, 1.7])
        low = min(float(real.min()), 0.0) * factor
        high = max(float(real.max()), 0.0) * factor
        info = np.iinfo(dtype)
        if self.chance(20):  # symmetric
            scale = np.float32(max(-low, high, 1e-2) / 127)
            return _quantised(name, real, scale, 128 + info.min if dtype == "uint8" else 0, dtype)
        scale = np.float32(max(high - low, 1e-2) / 255)
        zero_point = int(np.clip(np.rint(info.min - low / scale), info.min, info.max))
        return _quantised(name, real, scale, zero_point, dtype)

    def weights(self, shape: Sequence[int], axis: int) -> Constant:
        """Symmetric int8 weights around the size that keeps a layer's range."""
        around = 1.5 / (127 * math.sqrt(max(1, math.prod(shape) // shape[axis])))
        count = shape[axis] if self.chance(75) else 1
        scales = (around * 2 ** self.random.uniform(-1, 1, count)).astype(np.float32)
        return Constant(self.random.integers(-127, 128, shape).astype(np.int8), scales, 0, axis)

    def bias(self, x: Value, weights: Constant, channels: int) -> list[Operand]:
        if self.chance(25):
            return []
        scales = x.scale * weights.scales
        numbers = self.random.integers(-2000, 2000, channels).astype(np.int32)
        return [Constant(numbers, scales)]

    def constant(self, shape: Sequence[int]) -> Constant:
        """A quantised operand with any zero point."""
        numbers = self.random.integers(-128, 128, shape).astype(np.int8)
        scale = np.float32([self.random.uniform(0.002, 0.05)])
        return Constant(numbers, scale, self.pick([0, -128, self.integer(-128, 127)]))


def _quantised(
    name: str, real: np.ndarray, scale: np.float32, zero_point: int, dtype: str
) -> Value:
    info = np.iinfo(dtype)
    numbers = np.rint(real.astype(np.float32) / scale) + zero_point
    return Value(name, np.clip(numbers, info.min, info.max).astype(dtype), scale, zero_point)


_TAILS: list[tuple[float, float] | None] = [
    *[None] * 10,
    (0.0, math.inf),
    (0.0, math.inf),
    (0.0, 6.0),
    (-1.0, 1.0),
    (-0.3, 0.7),
]
# what a quantiser gives the scale of its operand
_KEEPS = frozenset(
    "MaxPool Reshape Transpose Flatten Squeeze Unsqueeze Slice Split Concat Pad Resize Expand "
    "ReduceMax AveragePool Identity Relu Clip".split()
)


def _build(
    graph: RandomGraph, inputs: Sequence[Value], outputs: Sequence[Value], suffix: str
) -> onnx.ModelProto:
    """The model whose blocks write their results under their names with the suffix."""
    nodes: list[onnx.NodeProto] = []
    tensors: dict[str, onnx.TensorProto] = {}

    def keep(name: str, array: Any) -> str:
        tensors[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def parameters(value: Value) -> list[str]:
        zero_point = np.array(value.zero_point, value.numbers.dtype)
        return [keep(f"{value.name}/s", value.scale), keep(f"{value.name}/z", zero_point)]

    def read(operand: Operand, where: str) -> str:
        if operand is None:
            return ""
        if isinstance(operand, np.ndarray | np.generic):
            return keep(where, operand)
        attributes = {}
        if isinstance(operand, Value):
            names = [operand.name, *parameters(operand)]
        else:
            many = operand.scales.size > 1
            attributes = {"axis": operand.axis} if many else {}
            scales = operand.scales if many else operand.scales[0]
            zeros = np.full(np.shape(scales), operand.zero_point, operand.numbers.dtype)
            names = [keep(f"{where}/n", operand.numbers)]
            names += [keep(f"{where}/s", scales), keep(f"{where}/z", zeros)]
        nodes.append(helper.make_node("DequantizeLinear", names, [where], **attributes))
        return where

    for block in graph.blocks:
        node, first = block.node, block.results[0].name
        names = [read(o, f"{first}/in{k}") for k, o in enumerate(node.operands)]
        reals = [f"{value.name}/real" for value in block.results]
        if node.kind == REQUANTISE:
            reals = names
        else:
            made_node = helper.make_node(
                node.kind, names, reals, f"{first}/node", **node.attributes
            )
            nodes.append(made_node)
        if block.tail is not None:
            nodes.append(_tail_node(block.tail, reals[0], keep))
            reals = [f"{reals[0]}/tail"]
        for value, real in zip(block.results, reals, strict=True):
            quantise = [real, *parameters(value)]
            nodes.append(helper.make_node("QuantizeLinear", quantise, [value.name + suffix]))
    infos = [_info(value, "") for value in inputs], [_info(value, suffix) for value in outputs]
    made = helper.make_graph(nodes, "random", *infos, list(tensors.values()))
    return _model(made, graph.opset)


def _tail_node(
    tail: tuple[float, float], real: str, keep: Callable[[str, Any], str]
) -> onnx.NodeProto:
    if tail == (0.0, math.inf):
        return helper.make_node("Relu", [real], [f"{real}/tail"])
    ends = [keep(f"{real}/{k}", np.float32(end)) for k, end in enumerate(tail)]
    return helper.make_node("Clip", [real, *ends], [f"{real}/tail"])


def _info(value: Value, suffix: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name + suffix, _KINDS[value.dtype], value.shape)


def _model(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
