"""Weights kept in files beside the model: checked first, then read into the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from edgeweave.compiler.errors import ModelError

# Element types that pack several elements into a byte, and their bits per element.
_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


def inline_external_data(proto: onnx.ModelProto, folder: Path | None, limit: int) -> None:
    """Read every external tensor into ``proto``, whose files must all lie inside ``folder``.

    Every location is checked before the first byte is read. ``limit`` is the greatest size in bytes
    that the tensors may reach together. Raises ``ModelError`` naming the tensor and the file.
    """
    external = [t for t in tensors(proto.graph) if t.data_location == onnx.TensorProto.EXTERNAL]
    for function in proto.functions:
        for node in function.node:
            external += [
                t for t in _node_tensors(node) if t.data_location == onnx.TensorProto.EXTERNAL
            ]
    if not external:
        return
    if folder is None:
        raise ModelError(
            f"tensor {external[0].name!r}",
            "its data lies in an external file, and a model in memory has no folder",
            "Pass the model's path, or load it with its external data",
        )
    pieces = [(tensor, *_locate(tensor, folder)) for tensor in external]
    total = sum(size for *_, size in pieces)
    if total > limit:
        raise ModelError(
            str(folder),
            f"the external data is {total / 2**30:.1f} GiB and a protobuf holds 2 GiB at most",
            "Use a smaller or quantised model",
        )
    for tensor, path, offset, size in pieces:
        with path.open("rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(size)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor a graph holds: initializers and attributes, subgraphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        if attribute.HasField("g"):
            yield from tensors(attribute.g)
        for graph in attribute.graphs:
            yield from tensors(graph)


def _locate(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int, int]:
    """The file, offset and size in bytes of an external tensor, all of them checked."""
    subject = f"tensor {tensor.name!r}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if not location:
        raise ModelError(subject, "its external data names no file", "Export the model again")
    path = _inside(subject, location, folder)
    expected = _expected_size(tensor)
    try:
        offset = int(entries.get("offset") or 0)
        size = int(entries.get("length") or expected)
    except ValueError:
        raise ModelError(
            subject, f"the offset or length of its data in {location} is no number"
        ) from None
    if offset < 0 or size != expected:
        raise ModelError(
            subject,
            f"{location} gives it {size} bytes at offset {offset}, its shape needs {expected}",
            "Export the model again",
        )
    held = path.stat().st_size
    if offset + size > held:
        raise ModelError(
            subject,
            f"it needs {offset + size} bytes of {location}, which holds {held}",
            "The file is truncated: fetch or export it again",
        )
    return path, offset, size


def _inside(subject: str, location: str, folder: Path) -> Path:
    """The file at ``location``, which must lie inside ``folder`` after resolving links."""
    windows = PureWindowsPath(location)
    if PurePosixPath(location).is_absolute() or windows.drive or windows.root:
        raise ModelError(
            subject,
            f"its external data path {location!r} is absolute",
            "External data must lie in the model's own folder",
        )
    path = (folder / location).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ModelError(
            subject,
            f"its external data path {location!r} leaves the model's folder",
            "External data must lie in the model's own folder; copy it there if you trust it",
        )
    if not path.is_file():
        raise ModelError(
            subject,
            f"its external data file {folder / location} is missing",
            "Put the file beside the model",
        )
    return path


def _expected_size(tensor: onnx.TensorProto) -> int:
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    count = math.prod(int(dim) for dim in tensor.dims)
    if name in _PACKED_BITS:
        return (count * _PACKED_BITS[name] + 7) // 8
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
