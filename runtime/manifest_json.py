"""The manifest as JSON: written in one way only, and read strictly."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import FORMAT_VERSION, MANIFEST_NAME, Manifest
from edgeweave.runtime.manifest_check import check_manifest

DAMAGED = "Pack the model again, or copy the bundle again from where it was made"


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as indented JSON with a final newline; equal manifests give equal bytes."""
    text = json.dumps(_encode(manifest), indent=1, sort_keys=True, allow_nan=False)
    return (text + "\n").encode()


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest; BundleError names the key that is unknown, missing, mistyped or unsound."""
    document = _parse(data)
    version = document.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _fault("format_version is no positive integer")
    if version > FORMAT_VERSION:
        raise BundleError(
            MANIFEST_NAME,
            f"this bundle needs a newer edgeweave: it has format version {version}, and this one "
            f"reads up to {FORMAT_VERSION}",
            "Upgrade edgeweave, or pack the model again with this one",
        )
    if version == 1:  # knew no quantised models
        document.setdefault("output_steps", {})
    manifest: Manifest = _decode(document, Manifest, "")
    check_manifest(manifest)
    return manifest


def _parse(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise _fault(f"it is no valid JSON ({error})") from error
    if not isinstance(document, dict):
        raise _fault("it is no JSON object")
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    repeated = {key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else ()
    for key in repeated:
        raise ValueError(f"key {key!r} occurs twice")
    return dict(pairs)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _fault(reason: str) -> BundleError:
    return BundleError(MANIFEST_NAME, reason, DAMAGED)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any, kind: Any, where: str) -> Any:
    """Turn JSON into the annotated type, without converting between types."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _decode(value, inner, where)
    if origin is tuple:
        items = _expect(value, list, where)
        return tuple(
            _decode(item, arguments[0], f"{where}[{position}]")
            for position, item in enumerate(items)
        )
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_object(_expect(value, dict, where), kind, where)
    if kind is Any:
        return value
    if origin is Mapping:
        items = _expect(value, dict, where)
        return {key: _decode(item, arguments[1], f"{where}.{key}") for key, item in items.items()}
    if kind is float:
        number = value if isinstance(value, float) else _expect(value, int, where)
        if not math.isfinite(number) or number < 0:
            raise _fault(f"{where} is {number}, and must be finite and not negative")
        return float(number)
    return _expect(value, kind, where)


def _decode_object(value: dict[str, Any], kind: type, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    for word, keys in (("unknown", value.keys() - hints), ("missing", hints.keys() - value)):
        if keys:
            named = ", ".join(sorted(f"{where}.{key}".lstrip(".") for key in keys))
            raise _fault(f"{word} key {named}")
    return kind(
        **{k: _decode(value[k], hint, f"{where}.{k}".lstrip(".")) for k, hint in hints.items()}
    )


def _expect(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _fault(f"{where} is {type(value).__name__}, and must be {kind.__name__}")
    return value
