"""The front end: from an ONNX file to a canonical model with static shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import onnx

from edgeweave.compiler.frontend.agreement import Samples
from edgeweave.compiler.frontend.canonical import canonicalise
from edgeweave.compiler.frontend.load import OLDEST_OPSET, opset, read_model
from edgeweave.compiler.frontend.nonfinite import nonfinite_weights
from edgeweave.compiler.frontend.prepare import prepare
from edgeweave.compiler.frontend.reference import accept
from edgeweave.compiler.frontend.rewrites import REWRITES, RewriteRule, check_names
from edgeweave.compiler.frontend.shapes import fix_shapes
from edgeweave.compiler.model import Model, Rewrite
from edgeweave.compiler.types import value_spec

__all__ = ["REWRITES", "RewriteRule", "load_model"]


def load_model(
    source: Path | onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    skip: Collection[str] = (),
) -> Model:
    """Load, validate and canonicalise a model; every model that ONNX Runtime runs is taken.

    ``shapes`` fixes the shapes of inputs by name; ``skip`` names rewrites of ``REWRITES`` to leave
    out. The canonical model has been compared with the original on random inputs. Raises
    ``ModelError`` saying what is wrong with the file, the shapes or the names.
    """
    check_names(skip)
    path, original = read_model(source)
    done = prepare(str(path), original)
    fix_shapes(original, shapes or {})
    reference, lowered = accept(str(path), original)
    if lowered:
        done.append(Rewrite("ir-version", lowered, f"lowered to {original.ir_version}"))
    inputs = tuple(value_spec(info) for info in original.graph.input)
    canonical = canonicalise(original, skip, Samples(original, inputs, reference))
    return Model(
        path=path,
        proto=canonical.proto,
        original=original,
        digest=canonical.digest,
        inputs=inputs,
        outputs=tuple(value_spec(info) for info in canonical.proto.graph.output),
        rewrites=(*done, *canonical.rewrites),
        warnings=(*_old_operators(original), *nonfinite_weights(original), *canonical.warnings),
    )


def _old_operators(proto: onnx.ModelProto) -> list[str]:
    version = opset(proto)
    if not 0 < version < OLDEST_OPSET:
        return []
    return [
        f"operator set {version} is older than {OLDEST_OPSET}, the oldest that ONNX Runtime "
        "guarantees; it takes this model nevertheless"
    ]
