"""Inputs as another rounding would give them: what a quantised model's own roundings do to it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeweave.runtime.runners import Value

# How many values are one step off; of floats, a step of 8 bits over their range. A layer of an
# integer engine rounds up to as many of its sums otherwise than ONNX Runtime does.
_SHARE = 0.01
_STEPS = 255


def nudged(values: Mapping[str, Value], seed: int = 0) -> dict[str, Value]:
    """The values with about one in a hundred rounded otherwise; what is no number stays."""
    generator = np.random.default_rng(seed)
    return {name: _nudged(value, generator) for name, value in values.items()}


def _nudged(value: Value, generator: np.random.Generator) -> Value:
    if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind not in "fiu":
        return value
    chosen = generator.random(value.shape) < _SHARE
    up = generator.random(value.shape) < 0.5
    if value.dtype.kind == "f":
        if not np.isfinite(value).all():
            return value
        step = float(value.max() - value.min()) / _STEPS
        return np.where(chosen, value + np.where(up, step, -step), value).astype(value.dtype)
    limits = np.iinfo(value.dtype)
    moved = value.copy()
    moved[chosen & up & (value < limits.max)] += 1
    moved[chosen & ~up & (value > limits.min)] -= 1
    return moved
