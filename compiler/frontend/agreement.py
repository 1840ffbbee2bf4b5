"""Whether a rewritten model computes what the original computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from edgeweave.compiler.frontend.constants import RANDOM
from edgeweave.compiler.frontend.prepare import all_nodes
from edgeweave.compiler.frontend.reference import Reference
from edgeweave.compiler.frontend.refusal import one_line
from edgeweave.compiler.sampling import Style, random_inputs
from edgeweave.runtime.spec import ValueSpec

_SEED = 20
_STYLES: tuple[Style, ...] = ("normal", "unit", "small-ints")
# Rounding of a reordered sum grows with the depth of the network: these bounds, relative to the
# largest output, hold for networks a hundred layers deep and lie far below a wrong weight.
_RELATIVE = {"float16": 2e-2, "bfloat16": 1e-1, "float64": 1e-6}
_RELATIVE_DEFAULT = 1e-3
# What denormal weights can add to an output, and far below any meaning it has.
_NEGLIGIBLE = 1e-30
# How much further than the original under a rounding of its inputs the canonical model may move.
_SENSITIVITY = 10.0


class Samples:
    """Random inputs a model accepts, and the outputs it has for them.

    Some models take only certain integers, so several ranges are tried; with none accepted, or
    with a model that draws random numbers, there is nothing to compare with.
    """

    def __init__(
        self, proto: onnx.ModelProto, inputs: Sequence[ValueSpec], reference: Reference
    ) -> None:
        self._reference = reference
        self._feeds: dict[str, Any] = {}
        self.expected: list[Any] | None = None
        if any(node.op_type in RANDOM for node in all_nodes(proto.graph)) or _trains(proto):
            return
        for style in _STYLES:
            feeds = random_inputs(inputs, _SEED, style)
            try:
                self.expected = reference.run(feeds)
            except Exception:  # noqa: BLE001 - the model refuses such inputs: try others
                continue
            self._feeds = feeds
            return

    def fault(self, proto: onnx.ModelProto, data: bytes) -> str | None:
        """Why the rewritten ``proto``, serialised ``data``, must not be used; None if it agrees."""
        try:
            session = Reference(proto, data)
            if session.outputs != self._reference.outputs:
                return "its outputs have other names"
            if self.expected is None:
                return None
            actual = session.run(self._feeds)
        except Exception as error:  # noqa: BLE001 - whatever it is, the original did not raise it
            return one_line(error)
        worst = excess(self.expected, actual)
        if worst <= 1.0 or self._is_rounding(worst):
            return None
        return f"its outputs differ by {worst:.3g} times what rounding explains"

    def correct_shapes(self, proto: onnx.ModelProto) -> None:
        """Open the dimensions that ``proto`` declares for its outputs and that they do not have."""
        for info, value in zip(proto.graph.output, self.expected or (), strict=False):
            if not info.type.tensor_type.HasField("shape") or not isinstance(value, np.ndarray):
                continue
            dims = info.type.tensor_type.shape.dim
            if len(dims) != value.ndim:
                info.type.tensor_type.ClearField("shape")
                continue
            for dim, size in zip(dims, value.shape, strict=True):
                if dim.HasField("dim_value") and dim.dim_value != size:
                    dim.Clear()

    def _is_rounding(self, worst: float) -> bool:
        """Whether the original itself moves as far when its inputs are rounded differently."""
        rounded = {
            name: value * (1 + 4 * np.finfo(value.dtype).eps)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
            else value
            for name, value in self._feeds.items()
        }
        moved = excess(self.expected or [], self._reference.run(rounded))
        return math.isfinite(worst) and worst <= _SENSITIVITY * moved


def _trains(proto: onnx.ModelProto) -> bool:
    """Whether a Dropout may draw random numbers: one whose third input is given."""
    return any(n.op_type == "Dropout" and len(n.input) > 2 for n in all_nodes(proto.graph))


def excess(expected: Any, actual: Any) -> float:
    """The largest difference as a multiple of the one allowed; infinite for other structure."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or expected.keys() != actual.keys():
            return math.inf
        return max((excess(v, actual[k]) for k, v in expected.items()), default=0.0)
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(expected) != len(actual):
            return math.inf
        return max((excess(a, b) for a, b in zip(expected, actual, strict=True)), default=0.0)
    if expected is None or actual is None:
        return 0.0 if expected is actual else math.inf
    return _array_excess(np.asarray(expected), np.asarray(actual))


def _array_excess(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return math.inf
    if expected.dtype.kind in "OSU" or expected.size == 0:
        return 0.0 if np.array_equal(expected, actual) else math.inf
    relative = _RELATIVE.get(expected.dtype.name, _RELATIVE_DEFAULT)
    if expected.dtype.kind in "biu":
        relative = 0.0
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = expected.astype(wide), actual.astype(wide)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    if not finite.any():
        return 0.0
    difference = float(np.abs(a[finite] - b[finite]).max())
    return difference / (relative * float(np.abs(a[finite]).max()) + _NEGLIGIBLE)
