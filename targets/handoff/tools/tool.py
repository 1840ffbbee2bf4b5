"""What is known of a vendor's tool, and what it is to make of a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

QDQ_MODEL = "stage.onnx"  # what the stage means; it runs here in place of the vendor's binary
FLOAT_BORDER_MODEL = "stage_float_io.onnx"


@dataclass(frozen=True)
class Step:
    """A command that is still to be run in the stage's folder, and the file it writes."""

    command: str
    produces: str


@dataclass(frozen=True)
class Recipe:
    """Files by name that a tool needs besides the stage's model, its commands, and remarks."""

    files: Mapping[str, bytes]
    steps: tuple[Step, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """A vendor's compiler that is not part of edgeweave.

    ``operators`` are the ONNX operators that its documents list without a condition that a region
    cannot answer for; ``limits`` are conditions on attributes, which the tool itself checks.
    ``required`` and ``optional`` map the keys of an engine's ``vendor`` table to the values that
    are known (none: any). ``opset`` and ``ir_version`` are the newest it reads. ``ranks`` (least,
    most) and ``largest_dimension`` bound every tensor; ``single_batch`` are operators that it takes
    for a batch of one only. ``verified`` says what of this was run, ``sources`` where it is from.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    verified: str
    operators: frozenset[str]
    recipe: Callable[[onnx.ModelProto, Mapping[str, str]], Recipe]
    opset: int
    ir_version: int
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    takes_float16: bool = False
    ranks: tuple[int, int] = (1, 8)
    largest_dimension: int | None = None
    single_batch: frozenset[str] = frozenset()
    limits: tuple[str, ...] = ()


def names(text: str) -> frozenset[str]:
    """The words of a table of operators."""
    return frozenset(text.split())


NOT_VERIFIED = "Not verified here: the commands follow the documents below, none of them was run."
