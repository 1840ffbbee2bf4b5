"""What the emitter refuses, and by which rule."""

from __future__ import annotations

RULES: dict[str, str] = {
    "ethos-u.operator": (
        "Every operator must be one that int8 TFLite expresses with the same meaning."
    ),
    "ethos-u.quantised": (
        "Every value between operators must be int8 or uint8 with one scale and one zero point, "
        "and every operand a constant or such a value."
    ),
    "ethos-u.shape": "Every shape must be known and have at least one axis and one element.",
    "ethos-u.weights": "Weights must be constant 8-bit integers with zero point 0.",
    "ethos-u.bias": "A bias must be constant and fit into 32 bits at the scale of the products.",
    "ethos-u.convolution": (
        "Convolutions must have one or two spatial dimensions, and strides of at most 3 where they "
        "are padded, dilated or work one channel at a time."
    ),
    "ethos-u.transposed-convolution": (
        "Transposed convolutions must have two spatial dimensions and equal strides of 1 or 2."
    ),
    "ethos-u.matrix-product": (
        "A matrix product must be one of plain rows and columns, with factors of 1."
    ),
    "ethos-u.pool-padding": (
        "An average pool's padding must be none, counted, or split as TFLite's SAME; windows may "
        "neither be larger than the image nor begin outside of it."
    ),
    "ethos-u.pool": "Pools must be two-dimensional and without dilation.",
    "ethos-u.reduction": "Reductions must name their axes as constants.",
    "ethos-u.resize": (
        "Resizing must be nearest or linear (of one image), over height and width by one factor of "
        "2, 4 or 8 (linear with half pixels: 2), and at the coordinates of a mode of TFLite's."
    ),
    "ethos-u.fine-scale": (
        "A result that TFLite computes at a scale of its own may be wanted at most twice as fine."
    ),
    "ethos-u.softmax": "Softmax must be over at most 511 places of one axis.",
    "ethos-u.pad": "Padding must be constant or reflected, and may not crop.",
    "ethos-u.slice": "Slices must have constant bounds and positive steps.",
    "ethos-u.constant": "Shapes, axes, bounds and factors must be constants.",
}


class Refused(Exception):  # noqa: N818 - the word of the rules
    """An operator or a value that the emitter cannot express; ``rule`` is a key of ``RULES``.

    ``subject`` is the model it is about, as the caller named it.
    """

    subject = ""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason
