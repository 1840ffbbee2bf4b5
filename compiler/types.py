"""ONNX types in the notation of value specs (``tensor(float)``, ``seq(tensor(int64))``)."""

from __future__ import annotations

import onnx

from edgeweave.runtime.spec import ValueSpec


def element_name(element: int) -> str:
    """The ONNX Runtime name of a ``TensorProto.DataType``: FLOAT is ``float``."""
    return str(onnx.TensorProto.DataType.Name(element)).lower()


def type_name(proto: onnx.TypeProto) -> str:
    """The type as ONNX Runtime prints it, or an empty string for a type that is not given."""
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        return f"tensor({element_name(proto.tensor_type.elem_type)})"
    if kind == "sparse_tensor_type":
        return f"sparse_tensor({element_name(proto.sparse_tensor_type.elem_type)})"
    if kind == "sequence_type":
        return f"seq({type_name(proto.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({type_name(proto.optional_type.elem_type)})"
    if kind == "map_type":
        value = type_name(proto.map_type.value_type)
        return f"map({element_name(proto.map_type.key_type)},{value})"
    return ""


def tensor_shape(proto: onnx.TypeProto) -> tuple[int | None, ...] | None:
    """The dimensions of a tensor type, None where one is open; None without a known rank."""
    if not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else None for dim in proto.tensor_type.shape.dim
    )


def value_spec(info: onnx.ValueInfoProto) -> ValueSpec:
    """The spec of a graph input, graph output or ``value_info`` entry."""
    return ValueSpec(info.name, type_name(info.type), tensor_shape(info.type))
