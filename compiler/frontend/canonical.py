"""From the model as given to the canonical one, and the proof that both compute the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeweave.compiler.frontend.agreement import Samples
from edgeweave.compiler.frontend.infer import (
    forget_shapes,
    infer_types,
    inferred,
)
from edgeweave.compiler.frontend.load import serialized
from edgeweave.compiler.frontend.refusal import one_line
from edgeweave.compiler.frontend.rewrites import REWRITES, RewriteFailure, apply_rewrites
from edgeweave.compiler.frontend.weights import name_of
from edgeweave.compiler.model import Rewrite


class UnreadableModel(Exception):  # noqa: N818 - caught and turned into a warning
    """The library that the rewrites work with cannot represent the model."""


@dataclass(frozen=True)
class Canonical:
    """The canonical proto, the SHA-256 of its bytes, what was rewritten, and what to know of it."""

    proto: onnx.ModelProto
    digest: str
    rewrites: tuple[Rewrite, ...]
    warnings: tuple[str, ...]


def canonicalise(original: onnx.ModelProto, skip: Collection[str], samples: Samples) -> Canonical:
    """Rewrite ``original`` and drop every rewrite that would change what it computes."""
    dropped: dict[str, str] = {}
    while True:
        try:
            proto, counts = _rewritten(original, {*skip, *dropped}, samples)
        except RewriteFailure as failure:
            dropped[failure.rule] = str(failure)
            continue
        except UnreadableModel as failure:
            return _result(*_unchanged(original), {}, {"all": str(failure)})
        data = serialized(proto, "the canonical model")
        fault = samples.fault(proto, data)
        if fault is None:
            return _result(proto, data, counts, dropped)
        for name in _culprits(original, {*skip, *dropped}, counts, samples):
            dropped[name] = fault
        if not any(counts.values()):
            return _result(*_unchanged(original), {}, dropped)


def _rewritten(
    original: onnx.ModelProto, skip: Collection[str], samples: Samples
) -> tuple[onnx.ModelProto, dict[str, int]]:
    try:
        model = ir.from_proto(original)
        passes.NameFixPass()(model)
    except Exception as error:
        raise UnreadableModel(one_line(error)) from error
    forget_shapes(model)
    counts = apply_rewrites(model, skip)
    proto = _finished(model, original)
    samples.correct_shapes(proto)
    return proto, counts


def _culprits(
    original: onnx.ModelProto,
    skip: set[str],
    counts: dict[str, int],
    samples: Samples,
) -> list[str]:
    """The rewrite without which the model is right again; all of them if it is not one alone."""
    applied = [rule.name for rule in reversed(REWRITES) if counts.get(rule.name)]
    for name in applied:
        try:
            proto, _ = _rewritten(original, {*skip, name}, samples)
        except RewriteFailure:
            continue
        if samples.fault(proto, serialized(proto, "the canonical model")) is None:
            return [name]
    return applied


def _finished(model: ir.Model, original: onnx.ModelProto) -> onnx.ModelProto:
    """The proto of ``model``: unique names, no unused weight, types of all values known."""
    for value in list(model.graph.initializers.values()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name_of(value)]
    passes.NameFixPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    passes.ClearMetadataAndDocStringPass()(model)
    infer_types(model)
    proto = ir.to_proto(model)
    computed = [
        info for info in proto.graph.value_info if info.name not in model.graph.initializers
    ]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(computed)
    _restore_borders(proto, original)
    return proto


def _restore_borders(proto: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Give an output whose type is not inferred the one the file declares."""
    declared = {info.name: info for info in original.graph.output}
    for info in proto.graph.output:
        given = declared.get(info.name)
        if given is None:
            continue
        if info.type.WhichOneof("value") is None:
            info.type.CopyFrom(given.type)
        elif (
            info.type.HasField("tensor_type")
            and not info.type.tensor_type.HasField("shape")
            and given.type.tensor_type.HasField("shape")
        ):
            info.type.tensor_type.shape.CopyFrom(given.type.tensor_type.shape)


def _unchanged(original: onnx.ModelProto) -> tuple[onnx.ModelProto, bytes]:
    """The original with the types of its values, and its bytes."""
    proto = onnx.ModelProto()
    proto.CopyFrom(original)
    outputs = {info.name for info in proto.graph.output}
    found = [info for name, info in inferred(original).items() if name not in outputs]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(found)
    return proto, serialized(proto, "the model")


def _result(
    proto: onnx.ModelProto, data: bytes, counts: dict[str, int], dropped: dict[str, str]
) -> Canonical:
    rewrites = [
        Rewrite(rule.name, counts.get(rule.name, 0), _note(rule.name, dropped))
        for rule in REWRITES
        if counts.get(rule.name) or rule.name in dropped
    ]
    warnings = [
        f"{'every rewrite' if name == 'all' else f'rewrite {name!r}'} was left out: {reason}"
        for name, reason in dropped.items()
    ]
    return Canonical(proto, hashlib.sha256(data).hexdigest(), tuple(rewrites), tuple(warnings))


def _note(name: str, dropped: dict[str, str]) -> str:
    return f"left out: {dropped[name]}" if name in dropped else ""
