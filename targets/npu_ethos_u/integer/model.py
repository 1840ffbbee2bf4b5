"""A TFLite flatbuffer as plain data: tensors with their quantisation, and operators in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeweave.targets.errors import TargetError

Array = npt.NDArray[Any]

_DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")


@dataclass(frozen=True)
class Tensor:
    """A value of the graph; ``data`` is there if it is a constant.

    ``scales`` are float32, as the file has them: one, or one per index of ``axis``; none if the
    tensor is not quantised. What an integer q stands for is ``scale * (q - zero_point)``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data: Array | None = None
    scales: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    zero_points: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    axis: int = 0

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that has a single one."""
        if len(self.scales) != 1:
            reason = f"it has {len(self.scales)} scales where one is needed"
            raise TargetError(f"tensor {self.name}", reason)
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The integer that stands for zero."""
        return int(self.zero_points[0]) if len(self.zero_points) else 0

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest integer that the tensor can hold."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)


@dataclass(frozen=True)
class Operator:
    """An operator by its name in the schema; an input of -1 is left out."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """The only subgraph of a model; its operators are in an order in which they can run."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_model(blob: bytes) -> Model:
    """The model in a flatbuffer that was written here: a damaged one may crash the reader.

    Raises TargetError for bytes that are no TFLite model, and one with several subgraphs.
    """
    from ai_edge_litert import schema_py_generated as schema

    if blob[4:8] != b"TFL3":
        raise TargetError("TFLite model", "the bytes do not begin as a TFLite file does")
    file = schema.ModelT.InitFromPackedBuf(blob)
    if len(file.subgraphs) != 1:
        raise TargetError("TFLite model", f"it has {len(file.subgraphs)} subgraphs, not one")
    graph = file.subgraphs[0]
    types = _names(schema.TensorType)
    operators = _names(schema.BuiltinOperator)
    codes = [operators[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in file.operatorCodes]
    return Model(
        tuple(_tensor(t, file.buffers, types) for t in graph.tensors),
        tuple(
            Operator(
                codes[op.opcodeIndex],
                _indices(op.inputs),
                _indices(op.outputs),
                vars(op.builtinOptions) if op.builtinOptions is not None else {},
            )
            for op in graph.operators or ()
        ),
        _indices(graph.inputs),
        _indices(graph.outputs),
    )


def _names(numbered: type) -> dict[int, str]:
    """Names by number of one of the schema's enumerations."""
    return {value: key for key, value in vars(numbered).items() if isinstance(value, int)}


def _indices(found: Sequence[int] | None) -> tuple[int, ...]:
    return () if found is None else tuple(int(index) for index in found)


def _tensor(tensor: Any, buffers: Sequence[Any], types: Mapping[int, str]) -> Tensor:
    name = _text(tensor.name)
    type_name = types[tensor.type].lower()
    if type_name not in _DTYPES:
        raise TargetError(f"tensor {name}", f"its type {type_name} is not known here")
    dtype, shape = np.dtype(type_name), _indices(tensor.shape)
    raw = buffers[tensor.buffer].data
    data = None
    if raw is not None and len(raw):
        data = np.frombuffer(np.asarray(raw, np.uint8).tobytes(), dtype).reshape(shape)
    quantised = tensor.quantization
    if quantised is None or quantised.scale is None or not len(quantised.scale):
        return Tensor(name, shape, dtype, data)
    scales = np.asarray(quantised.scale, np.float32)
    points = quantised.zeroPoint
    zero_points = np.zeros(len(scales), np.int64) if points is None else np.asarray(points)
    axis = int(quantised.quantizedDimension)
    return Tensor(name, shape, dtype, data, scales, zero_points.astype(np.int64), axis)


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""
