"""Why ONNX Runtime refused a model, in one sentence for the user."""

from __future__ import annotations

import re

import onnx

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend.load import ONNX_DOMAINS
from edgeweave.compiler.frontend.prepare import all_nodes, node_label

_NOISE = (
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : ",  # the class of the error, known from its text
    r"/\S*onnxruntime\S*\.(cc|h):\d+ (\(anonymous namespace\)::)?",  # a place in its source
    r"^[\w<>,&*~ ]+::[\w:<>,&*~ ]+\([^)]*(?:\([^)]*\)[^)]*)*\)(?: const)? (?=[A-Z*])",  # a function
    r"Load model from \S+ failed:\s*",
    r"^(?:This is an i|I)nvalid model\. (?:Error: )?",
)
_UNKNOWN = re.compile(
    r"No Op registered for|is not a registered function/op|No opset import for domain"
    r"|Could not find an implementation for"
)
_TOO_NEW_OPSET = re.compile(
    r"Opset (\d+) is under development.*official support for domain (\S+) is till opset (\d+)"
)


def refusal(subject: str, proto: onnx.ModelProto, message: str) -> ModelError:
    """The error for a model that ONNX Runtime refused with ``message``."""
    if newer := _TOO_NEW_OPSET.search(message):
        version, domain, newest = newer.groups()
        return ModelError(
            subject,
            f"uses operator set {version} of {domain}, and ONNX Runtime supports up to {newest}",
            f"Export the model for operator set {newest} or older",
        )
    if _UNKNOWN.search(message):
        for node in all_nodes(proto.graph):
            if _is_unknown(proto, node, message):
                return _unknown_operator(subject, proto, node, "Could not find" in message)
    return ModelError(
        subject,
        f"is not a valid model: {condensed(message)}",
        "Check it with onnx.checker and export it again",
    )


def one_line(error: Exception) -> str:
    """The message of an error of a library, on one line of bounded length."""
    line = condensed(str(error))
    return line if len(line) <= 300 else f"{line[:299]}…"


def condensed(message: str) -> str:
    """ONNX Runtime's message on one line, without error class and source locations."""
    line = " ".join(message.split())
    for pattern in _NOISE:
        line = re.sub(pattern, "", line)
    return line.strip().rstrip(".") or "no reason given"


def _unknown_operator(
    subject: str, proto: onnx.ModelProto, node: onnx.NodeProto, is_known: bool
) -> ModelError:
    domain = node.domain or "ai.onnx"
    version = next(
        (o.version for o in proto.opset_import if (o.domain or "ai.onnx") == domain), None
    )
    if version is None:
        fault = "has no operator set import"
    elif is_known:
        fault = f"has no implementation for these types in operator set {version}"
    else:
        fault = f"is unknown in operator set {version}"
    step = "Replace the operator by standard ones, or by a model-local function"
    if not is_known and domain == "ai.onnx" and onnx.defs.has(node.op_type):
        step = "Check the model's operator set version: other versions have this operator"
    reason = f"operator {node.op_type} of domain {domain}, in {node_label(node)}, {fault}"
    return ModelError(subject, reason, step)


def _is_unknown(proto: onnx.ModelProto, node: onnx.NodeProto, message: str) -> bool:
    """Whether this node is one the message can be about: named in it and known nowhere."""
    if not re.search(rf"\b{re.escape(node.op_type)}\b", message):
        return False
    if (node.domain, node.op_type) in {(f.domain, f.name) for f in proto.functions}:
        return False
    if node.domain not in ONNX_DOMAINS:
        return True
    versions = [o.version for o in proto.opset_import if o.domain in ONNX_DOMAINS]
    try:
        onnx.defs.get_schema(node.op_type, versions[0] if versions else 1)
    except onnx.defs.SchemaError:
        return True
    return "Could not find an implementation" in message
