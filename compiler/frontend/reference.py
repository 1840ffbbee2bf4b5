"""ONNX Runtime as the judge: whether a model is valid, and what it computes."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend.load import serialized
from edgeweave.compiler.frontend.refusal import refusal
from edgeweave.compiler.types import value_spec
from edgeweave.runtime.spec import ValueSpec

_TOO_NEW_IR = re.compile(r"Unsupported model IR version: \d+, max supported IR version: (\d+)")
_NUMPY_LACKS = re.compile(r"float8|float4|bfloat16|u?int4|u?int2")


class Reference:
    """An ONNX Runtime session of a model, single-threaded and without graph optimisation."""

    def __init__(self, proto: onnx.ModelProto, data: bytes | None = None) -> None:
        """A session of ``proto``, whose serialised bytes may be given as ``data``."""
        self._session = _session(serialized(proto, "the model") if data is None else data)
        self._inputs = {info.name: value_spec(info) for info in proto.graph.input}
        self.outputs: tuple[str, ...] = tuple(out.name for out in self._session.get_outputs())
        self._exotic = any(_NUMPY_LACKS.search(o.type) for o in self._session.get_outputs())

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The outputs for ``feeds``; ml_dtypes arrays where numpy lacks the element type."""
        values = {name: _fed(self._inputs[name], value) for name, value in feeds.items()}
        if self._exotic and all(_is_tensor(spec) for spec in self._inputs.values()):
            import onnxruntime as ort

            given = {
                name: value
                if isinstance(value, ort.OrtValue)
                else ort.OrtValue.ortvalue_from_numpy(value)
                for name, value in values.items()
            }
            results = self._session.run_with_ort_values(list(self.outputs), given)
            return [_fetched(result) for result in results]
        return list(self._session.run(list(self.outputs), values))


def accept(subject: str, proto: onnx.ModelProto) -> tuple[Reference, int]:
    """A session of ``proto`` if ONNX Runtime takes it, and how far its IR version was lowered.

    An IR version newer than ONNX Runtime knows is lowered in ``proto``: it dates the file format
    and changes no meaning. Raises ``ModelError`` with the reason of a refusal.
    """
    given = proto.ir_version
    try:
        try:
            return Reference(proto, serialized(proto, subject)), 0
        except Exception as error:
            newest = _TOO_NEW_IR.search(str(error))
            if newest is None:
                raise
            proto.ir_version = int(newest.group(1))
            return Reference(proto), given - proto.ir_version
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - its exceptions have no common base of their own
        raise refusal(subject, proto, str(error)) from None


def _session(model: bytes) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Its fallback to another provider would print and try the same again.
    return ort.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


def _is_tensor(spec: ValueSpec) -> bool:
    return spec.element is not None


def _fed(spec: ValueSpec, value: Any) -> Any:
    """The value as a session takes it: element types numpy lacks go by their bits."""
    if spec.element is None:
        return value
    if not _NUMPY_LACKS.search(spec.element):
        return np.asarray(value)
    import onnxruntime as ort

    array = np.array(value, order="C")
    if re.fullmatch(r"u?int[24]|float4.*", spec.element):
        bits = array.astype(np.int8 if spec.element.startswith("int") else np.uint8)
    else:
        bits = array.view(np.uint16 if spec.element == "bfloat16" else np.uint8)
    kind = getattr(onnx.TensorProto, spec.element.upper())
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, kind)


def _fetched(result: Any) -> Any:
    if not result.is_tensor() or not _NUMPY_LACKS.search(result.data_type()):
        return result.numpy() if result.is_tensor() else result
    kind = getattr(onnx.TensorProto, result.data_type()[len("tensor(") : -1].upper())
    size = result.tensor_size_in_bytes()
    proto = onnx.TensorProto(data_type=kind, dims=result.shape())
    proto.raw_data = ctypes.string_at(result.data_ptr(), size) if size else b""
    return onnx.numpy_helper.to_array(proto)
