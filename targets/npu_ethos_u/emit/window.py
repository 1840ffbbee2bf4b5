"""Windows that slide over an image: kernels, strides, dilations and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgeweave.targets.npu_ethos_u.emit.emission import Emission, Placed
from edgeweave.targets.npu_ethos_u.emit.quantized import Operator
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

SAME, VALID = 0, 1  # TFLite's own numbers
MOST_STRIDE = 3  # above it Vela takes only unpadded, undilated windows

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Pairs are (height, width); ``pads`` are (top, left, bottom, right)."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: tuple[int, int, int, int]

    @property
    def reach(self) -> Pair:
        """How far the kernel reaches with its dilation."""
        (height, width), (down, right) = self.kernel, self.dilations
        return (height - 1) * down + 1, (width - 1) * right + 1

    def output(self, size: Pair) -> Pair:
        """How many windows fit into an image of this size with the pads."""
        (top, left, bottom, right), (high, wide) = self.pads, self.reach
        return (
            (size[0] + top + bottom - high) // self.strides[0] + 1,
            (size[1] + left + right - wide) // self.strides[1] + 1,
        )

    def widened(self, size: Pair, output: Sequence[int]) -> Window:
        """The window with as much more padding at the end as ``output`` places of it need."""
        (top, left, bottom, right), (high, wide) = self.pads, self.reach
        low = (output[0] - 1) * self.strides[0] + high - size[0] - top
        far = (output[1] - 1) * self.strides[1] + wide - size[1] - left
        return replace(self, pads=(top, left, max(bottom, low), max(right, far)))

    def same(self, size: Pair) -> tuple[int, int, int, int]:
        """What TFLite pads for SAME: the odd one of a pair comes after."""
        totals = [
            max((-(-s // stride) - 1) * stride + reach - s, 0)
            for s, stride, reach in zip(size, self.strides, self.reach, strict=True)
        ]
        starts = [total // 2 for total in totals]
        return starts[0], starts[1], totals[0] - starts[0], totals[1] - starts[1]

    def is_same(self, size: Pair) -> bool:
        """Whether the pads are those of TFLite's SAME, in a form that Vela takes."""
        return self.pads == self.same(size) and max(self.strides) <= MOST_STRIDE


POINT = Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))


def read_window(operator: Operator, size: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of a convolution or a pool over an image of ``size``.

    One-dimensional ones have a height of 1.
    """
    pads = _spread(operator.attributes.get("pads"), 0)
    window = Window(
        _pair(list(kernel), 1),
        _pair(operator.attributes.get("strides"), 1),
        _pair(operator.attributes.get("dilations"), 1),
        pads,
    )
    automatic = operator.attributes.get("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        top, left, bottom, right = window.same((size[0], size[1]))
        lower = automatic == "SAME_LOWER"
        pads = (bottom, right, top, left) if lower else (top, left, bottom, right)
    elif automatic == "VALID":
        pads = (0, 0, 0, 0)
    if min(pads) < 0:
        raise Refused("ethos-u.pad", f"{operator} has negative pads {pads}")
    return replace(window, pads=pads)


def padded_image(emission: Emission, image: Placed, window: Window) -> tuple[Placed, int]:
    """The image, padded with zeros where SAME and VALID do not say the same, and which of them."""
    if any(window.pads) and window.is_same((image.shape[2], image.shape[3])):
        return image, SAME
    return pad_image(emission, image, window, image.quantisation.zero_point), VALID


def pad_image(emission: Emission, image: Placed, window: Window, number: int) -> Placed:
    """The image with the window's pads, filled with an int8 number."""
    top, left, bottom, right = window.pads
    return emission.padded(image, ((0, 0), (0, 0), (top, bottom), (left, right)), number)


def _pair(numbers: Any, missing: int) -> Pair:
    found = [int(number) for number in numbers or ()]
    first, second = [missing] * (2 - len(found)) + found
    return first, second


def _spread(pads: Any, missing: int) -> tuple[int, int, int, int]:
    found = [int(pad) for pad in pads or ()]
    half = len(found) // 2
    top, left = _pair(found[:half], missing)
    bottom, right = _pair(found[half:], missing)
    return top, left, bottom, right
