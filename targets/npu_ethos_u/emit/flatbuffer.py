"""Writing TFLite flatbuffers with the schema that ships in LiteRT; no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_LAST_SHORT_CODE = 127  # the deprecated field of the operator's code has 8 bits


class FlatbufferWriter:
    """One subgraph of one model, tensor by tensor and operator by operator.

    Tensors are named by the number that ``tensor`` and ``constant`` return.
    """

    def __init__(self) -> None:
        # heavy: 360 classes
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._model: Any = schema.ModelT()
        self._model.version = _SCHEMA_VERSION
        self._model.buffers = [schema.BufferT()]  # buffer 0 is the empty one
        self._model.operatorCodes = []
        self._graph: Any = schema.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors, self._graph.operators = [], []
        self._model.subgraphs = [self._graph]
        self._codes: dict[tuple[str, int], int] = {}

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        scales: Sequence[float] = (),
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        """A tensor without data; ``scales`` is empty for one that is not quantised.

        Several scales belong to the places along ``axis``.
        """
        tensor: Any = self._schema.TensorT()
        tensor.name = name
        tensor.shape = [int(size) for size in shape]
        tensor.type = getattr(self._schema.TensorType, dtype.upper())
        tensor.buffer = 0
        if len(scales):
            quantised: Any = self._schema.QuantizationParametersT()
            quantised.scale = np.asarray(scales, np.float32)
            quantised.zeroPoint = np.full(len(scales), zero_point, np.int64)
            quantised.quantizedDimension = axis
            tensor.quantization = quantised
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(
        self,
        name: str,
        data: NDArray[Any],
        scales: Sequence[float] = (),
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        """A tensor that holds ``data``."""
        index = self.tensor(name, data.shape, data.dtype.name, scales, zero_point, axis)
        buffer: Any = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        self._graph.tensors[index].buffer = len(self._model.buffers) - 1
        return index

    def operator(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        version: int = 1,
        options: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Append an operator; ``options`` names its table of options, ``fields`` fills it."""
        operator: Any = self._schema.OperatorT()
        operator.opcodeIndex = self._code(code, version)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options is not None:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self._schema, f"{options}T")()
            for key, value in (fields or {}).items():
                assert hasattr(operator.builtinOptions, key), (options, key)
                setattr(operator.builtinOptions, key, value)
        self._graph.operators.append(operator)

    def _code(self, code: str, version: int) -> int:
        if (code, version) not in self._codes:
            entry: Any = self._schema.OperatorCodeT()
            entry.builtinCode = getattr(self._schema.BuiltinOperator, code)
            entry.deprecatedBuiltinCode = min(entry.builtinCode, _LAST_SHORT_CODE)
            entry.version = version
            self._codes[code, version] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(entry)
        return self._codes[code, version]

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The model as bytes, with the tensors that it takes and gives."""
        import flatbuffers  # type: ignore[import-untyped]

        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())
