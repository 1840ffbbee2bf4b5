"""How ONNX places the windows of a convolution or a pool along the spatial axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Windows:
    """One entry per spatial axis; ``pads`` are those before each axis, then those after each."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]

    def in_plane(self) -> Windows:
        """The same for two axes; windows along one axis have one row."""
        if len(self.kernel) == 2:
            return self
        before, after = self.pads
        return Windows(
            [1, *self.kernel], [1, *self.strides], [1, *self.dilations], [0, before, 0, after]
        )


def find_windows(
    given: Mapping[str, Any], size: Sequence[int], kernel: Sequence[int]
) -> Windows | None:
    """The windows of an operator's attributes; None for other than one or two spatial axes."""
    axes = len(size)
    if axes not in (1, 2):
        return None
    strides = list(given.get("strides", [1] * axes))
    dilations = list(given.get("dilations", [1] * axes))
    pads = _pads(given, size, kernel, strides, dilations)
    if pads is None or min(pads) < 0:
        return None
    return Windows(list(kernel), strides, dilations, pads)


def _pads(
    given: Mapping[str, Any],
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int] | None:
    """Padding before each axis, then after each; None for a rule that is not known."""
    rule = given.get("auto_pad", b"NOTSET").decode()
    if rule == "NOTSET":
        return list(given.get("pads", [0] * 2 * len(size)))
    if rule == "VALID":
        return [0] * 2 * len(size)
    if rule not in ("SAME_UPPER", "SAME_LOWER"):
        return None
    before, after = [], []
    for extent, taps, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        places = -(-extent // stride)
        total = max(0, (places - 1) * stride + (taps - 1) * dilation + 1 - extent)
        small, large = total // 2, total - total // 2
        before.append(small if rule == "SAME_UPPER" else large)
        after.append(large if rule == "SAME_UPPER" else small)
    return [*before, *after]
