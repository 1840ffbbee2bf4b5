"""Reading a QDQ ONNX model into operators on quantised values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeweave.targets.npu_ethos_u.emit.quantized import (
    REQUANTISE,
    Border,
    Constant,
    Operand,
    Operator,
    Quantisation,
    QuantizedGraph,
    Value,
)
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

_DOMAINS = ("", "ai.onnx", "com.microsoft")  # the last for the quantisers of old operator sets
_UINT8_SHIFT = 128
_BOUNDING = ("Relu", "Clip")
_NO_BOUNDS = (-math.inf, math.inf)


def read_quantized(model: onnx.ModelProto) -> QuantizedGraph:
    """The operators of a QDQ model; raises Refused where a value is not quantised."""
    return _Reader(model).read()


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        graph = model.graph
        self.graph = graph
        self.opset = max(
            (o.version for o in model.opset_import if o.domain in _DOMAINS[:2]), default=13
        )
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.constants |= dict(_constant_nodes(graph.node))
        infos = [*graph.value_info, *graph.input, *graph.output]
        self.types = {info.name: info.type.tensor_type for info in infos}
        self.taken = {info.name for info in graph.input}
        self.given = {info.name for info in graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.values: dict[str, tuple[Value, str]] = {}  # by the name of the 8-bit numbers
        self.operands: dict[str, Value | Constant] = {}  # by the name of what they dequantise to
        self.operators: list[Operator] = []

    def read(self) -> QuantizedGraph:
        inputs = tuple(
            self._input(info.name) for info in self.graph.input if info.name not in self.constants
        )
        for node in self.graph.node:
            self._node(node)
        outputs = tuple(self._output(info.name) for info in self.graph.output)
        return QuantizedGraph(tuple(self.operators), inputs, outputs)

    def _input(self, name: str) -> Border:
        dtype = self._dtype(name)
        readers = [n for n in self.readers[name] if n.op_type == "DequantizeLinear"]
        # nobody can tell the scale of an input that nobody reads
        quantisation = self._quantisation(readers[0], dtype)[0] if readers else Quantisation(1.0, 0)
        self.values[name] = Value(name, self._shape(name), quantisation), dtype
        return Border(name, dtype, self.values[name][0])

    def _output(self, name: str) -> Border:
        if name not in self.values:
            raise Refused("ethos-u.quantised", f"the output {name!r} is not quantised")
        value, dtype = self.values[name]
        return Border(name, dtype, value)

    def _dtype(self, name: str) -> str:
        kind = self.types[name].elem_type if name in self.types else TensorProto.UNDEFINED
        if kind not in (TensorProto.INT8, TensorProto.UINT8):
            said = TensorProto.DataType.Name(kind).lower()
            raise Refused("ethos-u.quantised", f"{name!r} is {said}, not int8 or uint8")
        return "int8" if kind == TensorProto.INT8 else "uint8"

    def _shape(self, name: str) -> tuple[int, ...]:
        tensor = self.types.get(name)
        if tensor is None or not tensor.HasField("shape"):
            raise Refused("ethos-u.shape", f"the shape of {name!r} is not known")
        shape = tuple(int(size.dim_value) for size in tensor.shape.dim)
        if 0 in shape or not shape:
            said = f"{name!r} has no axes, is empty or is not fixed: {shape}"
            raise Refused("ethos-u.shape", said)
        return shape

    def _node(self, node: onnx.NodeProto) -> None:
        if node.domain not in _DOMAINS:
            raise Refused("ethos-u.operator", f"{node.op_type} of {node.domain} has no TFLite form")
        if node.op_type == "DequantizeLinear":
            self._dequantise(node)
        elif node.op_type == "QuantizeLinear":
            self._requantise(node)
        elif node.op_type == "Constant":
            pass  # read first of all
        elif node.op_type not in _BOUNDING or node.input[0] in self.operands:
            self._operate(node)
        # else Relu or Clip belong to the operator before them

    def _dequantise(self, node: onnx.NodeProto) -> None:
        source = node.input[0]
        if source in self.constants:
            self.operands[node.output[0]] = self._constant(node)
        elif source not in self.values:
            raise Refused("ethos-u.quantised", f"{source!r} is dequantised, yet nothing made it")
        else:
            value, dtype = self.values[source]
            quantisation, _ = self._quantisation(node, dtype)
            if quantisation != value.quantisation:
                raise Refused(
                    "ethos-u.quantised", f"{source!r} is written and read at different scales"
                )
            self.operands[node.output[0]] = value

    def _constant(self, node: onnx.NodeProto) -> Constant:
        name = node.input[0]
        numbers = self.constants[name]
        scales = np.atleast_1d(self._parameter(node, 1)).astype(np.float32).reshape(-1)
        zeros = self._parameter(node, 2) if _has(node, 2) else np.zeros(1, numbers.dtype)
        attributes = _attributes(node)
        if numbers.dtype not in (np.int8, np.uint8, np.int32):
            raise Refused("ethos-u.quantised", f"{name!r} is {numbers.dtype}, not 8 bits")
        if np.unique(zeros).size != 1 or attributes.get("block_size"):
            raise Refused("ethos-u.weights", f"{name!r} has several zero points, or blocks")
        zero = int(zeros.reshape(-1)[0])
        if numbers.dtype == np.uint8:
            numbers = (numbers.astype(np.int16) - _UINT8_SHIFT).astype(np.int8)
            zero -= _UINT8_SHIFT
        axis = attributes.get("axis", 1) % max(numbers.ndim, 1)
        return Constant(name, numbers, scales, zero, axis)

    def _requantise(self, node: onnx.NodeProto) -> None:
        """A quantisation of what was dequantised; those of results belong to their operators."""
        operand = self.operands.get(node.input[0])
        if operand is not None:
            self._append(REQUANTISE, node, (operand,), node)
        elif node.input[0] in self.constants or node.input[0] in self.taken:
            raise Refused("ethos-u.quantised", f"{node.input[0]!r} is quantised inside the stage")

    def _operate(self, node: onnx.NodeProto) -> None:
        inputs = tuple(self._operand(node, name) for name in node.input)
        for part, name in enumerate(node.output):
            if not name:
                continue  # a result that is left out
            for bounds, quantise in self._results(node, name):
                limits = None if bounds == _NO_BOUNDS else bounds
                self._append(node.op_type, node, inputs, quantise, limits, part)

    def _operand(self, node: onnx.NodeProto, name: str) -> Operand:
        if not name:
            return None
        if name in self.operands:
            return self.operands[name]
        if name in self.constants:
            return self.constants[name]
        raise Refused(
            "ethos-u.quantised",
            f"{node.op_type} {node.name!r} reads {name!r}, which is not quantised before it",
        )

    def _results(
        self, node: onnx.NodeProto, name: str, bounds: tuple[float, float] = _NO_BOUNDS
    ) -> Iterator[tuple[tuple[float, float], onnx.NodeProto]]:
        """The quantisations of a result, and the bounds that are put on it before each."""
        readers = self.readers[name]
        if name in self.given:
            raise Refused("ethos-u.quantised", f"the output {name!r} is not quantised")
        for reader in readers:
            if reader.op_type == "QuantizeLinear":
                yield bounds, reader
            elif reader.op_type in _BOUNDING:
                yield from self._results(node, reader.output[0], self._bounds(reader, bounds))
            else:
                raise Refused(
                    "ethos-u.quantised",
                    f"the result of {node.op_type} {node.name!r} is read by {reader.op_type} "
                    f"{reader.name!r} before it is quantised",
                )

    def _bounds(self, node: onnx.NodeProto, inner: tuple[float, float]) -> tuple[float, float]:
        low, high = inner
        if node.op_type == "Relu":
            return max(low, 0.0), max(high, 0.0)
        ends = tuple(self._operand(node, name) for name in node.input[1:])
        least, greatest = clip_bounds((None, *ends), _attributes(node))
        # as ONNX has it: the greatest wins where the two are crossed
        return tuple(min(max(end, least), greatest) for end in (low, high))  # type: ignore[return-value]

    def _append(
        self,
        kind: str,
        node: onnx.NodeProto,
        inputs: tuple[Operand, ...],
        quantise: onnx.NodeProto,
        bounds: tuple[float, float] | None = None,
        part: int = 0,
    ) -> None:
        quantisation, dtype = self._quantisation(quantise, None)
        name = quantise.output[0]
        value = Value(name, self._shape(quantise.input[0]), quantisation)
        self.values[name] = value, dtype
        attributes = _attributes(node)
        self.operators.append(
            Operator(kind, node.name, inputs, value, attributes, bounds, part, self.opset)
        )

    def _quantisation(self, node: onnx.NodeProto, dtype: str | None) -> tuple[Quantisation, str]:
        scale = self._parameter(node, 1)
        zero = self._parameter(node, 2) if _has(node, 2) else None
        if scale.size != 1 or not float(scale.reshape(-1)[0]) > 0:
            raise Refused("ethos-u.quantised", f"{node.input[0]!r} has no single positive scale")
        kind = str(zero.dtype) if zero is not None else dtype or self._dtype(node.output[0])
        if kind not in ("int8", "uint8"):
            raise Refused("ethos-u.quantised", f"{node.input[0]!r} is {kind}, not int8 or uint8")
        number = 0 if zero is None else int(zero.reshape(-1)[0])
        shifted = number - _UINT8_SHIFT if kind == "uint8" else number
        return Quantisation(float(scale.reshape(-1)[0]), shifted), kind

    def _parameter(self, node: onnx.NodeProto, place: int) -> NDArray[Any]:
        name = node.input[place]
        if name not in self.constants:
            raise Refused("ethos-u.quantised", f"{name!r} of {node.name!r} is not a constant")
        return np.asarray(self.constants[name])


def clip_bounds(inputs: tuple[Operand, ...], attributes: dict[str, Any]) -> tuple[float, float]:
    """The bounds of a Clip, whose inputs are the value, the least and the greatest."""
    ends = [attributes.get("min", -math.inf), attributes.get("max", math.inf)]
    for place, operand in enumerate(inputs[1:3]):
        if isinstance(operand, Value):
            raise Refused("ethos-u.constant", f"a bound of Clip, {operand.name!r}, is computed")
        if operand is not None:
            numbers = operand.real() if isinstance(operand, Constant) else operand
            ends[place] = float(numbers.reshape(-1)[0])
    return ends[0], ends[1]


def _constant_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, NDArray[Any]]]:
    for node in nodes:
        if node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value"), None)
            if tensor is None:
                raise Refused("ethos-u.constant", f"{node.output[0]!r} is a constant in short form")
            yield node.output[0], numpy_helper.to_array(tensor)


def _has(node: onnx.NodeProto, place: int) -> bool:
    return len(node.input) > place and bool(node.input[place])


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {key: v.decode() if isinstance(v, bytes) else v for key, v in values.items()}
