"""What a stage must return by the NPU's integer arithmetic, at its border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def expectation(
    blob: bytes, options: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs by name, in ONNX's order of axes, for inputs by name.

    ``options`` are those of the stage's artifact: its ``inputs`` and ``outputs`` say which value
    each tensor of the TFLite model ``blob`` is, and in which order its axes lie.
    """
    from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate

    made = evaluate(blob, [_moved(inputs[name], axes) for name, axes in options["inputs"]])
    names = options["outputs"]
    return {name: _moved(value, axes) for value, (name, axes) in zip(made, names, strict=True)}


def _moved(value: Any, axes: Sequence[int]) -> Any:
    return np.ascontiguousarray(np.transpose(value, axes)) if axes else np.asarray(value)
