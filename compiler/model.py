"""The model as the compiler sees it after the front end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from edgeweave.runtime.spec import ValueSpec


@dataclass(frozen=True)
class Rewrite:
    """What one rewrite of the front end did: its name, how often it applied, and a remark."""

    name: str
    count: int
    note: str = ""


@dataclass(frozen=True)
class Model:
    """A canonical ONNX model: valid, static input shapes, weights as initializers only.

    ``proto`` carries its weights inline and the inferred type of every value in ``value_info``.
    ``original`` is the file as given, with shapes fixed and nothing else changed: the reference
    for every verification. ``digest`` is the SHA-256 of the canonical model's bytes.
    ``warnings`` are sentences for the user (NaN weights, skipped upgrade).
    """

    path: Path
    proto: onnx.ModelProto
    original: onnx.ModelProto
    digest: str
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    rewrites: tuple[Rewrite, ...]
    warnings: tuple[str, ...] = ()
