"""Reading a model: from a file or memory to a proto with its weights inline."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend.external import inline_external_data

# A protobuf message cannot be longer; ONNX Runtime takes models through one.
LARGEST_PROTO = 2**31 - 1
# The oldest operator set for which ONNX Runtime promises to run the whole of it.
OLDEST_OPSET = 7
ONNX_DOMAINS = ("", "ai.onnx")


def read_model(source: Path | onnx.ModelProto) -> tuple[Path, onnx.ModelProto]:
    """The model of ``source`` with external data inlined, and the path that names it.

    A model in memory is copied, never changed, and is named ``model.onnx``. Raises ``ModelError``
    for what is no ONNX model and for external data that is missing or leaves the model's folder.
    """
    if isinstance(source, onnx.ModelProto):
        path, folder, proto = Path("model.onnx"), None, onnx.ModelProto()
        proto.CopyFrom(source)
    else:
        path = Path(source)
        folder, proto = path.parent, _parse(path, _read(path))
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(str(path), "holds no ONNX graph", "Give an ONNX model file")
    inline_external_data(proto, folder, LARGEST_PROTO - len(proto.graph.node))
    return path, proto


def opset(proto: onnx.ModelProto) -> int:
    """The version of ONNX's own operator set the model imports, or 0 when it imports none."""
    versions = [o.version for o in proto.opset_import if o.domain in ONNX_DOMAINS]
    return int(versions[0]) if versions else 0


def serialized(proto: onnx.ModelProto, subject: str) -> bytes:
    """The model's bytes, the same for equal models; ``ModelError`` when there are over 2 GiB."""
    try:
        data = bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        data = None
    if data is None or len(data) > LARGEST_PROTO:  # some protobuf libraries write what none reads
        raise ModelError(
            subject,
            "the model is over 2 GiB, more than a protobuf holds",
            "Use a smaller or quantised model",
        )
    return data


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError(str(path), "is a directory", "Give the .onnx file inside it")
    if not path.exists():
        raise ModelError(str(path), "does not exist", "Check the path")
    try:
        size = path.stat().st_size
        if size > LARGEST_PROTO:
            raise ModelError(
                str(path),
                f"is {size / 2**30:.1f} GiB and a protobuf holds 2 GiB at most",
                "Save the model with external data",
            )
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from error
    if not content:
        raise ModelError(str(path), "is empty", "Fetch or export the model again")
    return content


def _parse(path: Path, content: bytes) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        if content.startswith(b"version https://git-lfs"):
            raise ModelError(
                str(path), "is a Git LFS pointer, not the model itself", "Run git lfs pull"
            ) from None
        if _is_text(content):
            raise ModelError(
                str(path), "is a text file, not an ONNX model", "Give an ONNX model file"
            ) from None
        raise ModelError(
            str(path),
            "is truncated or damaged: its protobuf cannot be decoded",
            "Fetch or export the model again",
        ) from None
    return proto


def _is_text(content: bytes) -> bool:
    try:
        head = content[:4096].decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < min(len(content), 4096) - 4:
            return False
        head = content[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in head)
