"""What is handed to a vendor's tool: only what its documents say it takes."""

from __future__ import annotations

from collections.abc import Iterator

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Rule
from edgeweave.targets.board import Engine
from edgeweave.targets.handoff.settings import find_tool
from edgeweave.targets.handoff.tools.tool import Tool
from edgeweave.targets.region import Region

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def _tool(engine: Engine) -> Tool:
    tool = find_tool(engine)
    if tool is None:
        raise ValueError(f"{engine.name} has no vendor table; the first rule refuses it")
    return tool


def _refuse_engine(_region: Region, engine: Engine) -> str | None:
    if engine.kind != "npu":
        return f"{engine.name} is a {engine.kind}, and vendors' tools compile for NPUs"
    if find_tool(engine) is None:
        return f"the board file names no vendor's tool for {engine.name} (vendor.tool)"
    return None


def _refuse_precision(region: Region, engine: Engine) -> str | None:
    tool = _tool(engine)
    if region.precision == "int8":
        wide = [spec for spec in _values(region) if spec.dtype not in ("int8", "uint8")]
        return f"{wide[0].name!r} at its border is {wide[0].type}" if wide else None
    if region.precision == "float16" and tool.takes_float16:
        return None  # the engine's own peak is checked before
    taken = "int8 or float16" if tool.takes_float16 else "int8"
    return f"{tool.title} takes {taken} here; the region is {region.precision}"


def _refuse_operators(region: Region, engine: Engine) -> str | None:
    tool = _tool(engine)
    for operator in region.operators:
        if operator.domain or operator.type not in tool.operators | _CONVERSIONS:
            return f"{operator.label} is not in the table of what {tool.title} takes"
    return None


def _refuse_open_shapes(region: Region, _engine: Engine) -> str | None:
    for spec in _values(region):
        if not spec.is_static:
            return f"the shape of {spec.name!r} depends on the data"
    return None


def _refuse_sizes(region: Region, engine: Engine) -> str | None:
    tool = _tool(engine)
    least, most = tool.ranks
    for spec in _values(region):
        shape = [size or 0 for size in spec.shape or ()]
        if not least <= len(shape) <= most:
            span = str(least) if least == most else f"{least} to {most}"
            return f"{spec.name!r} has {len(shape)} dimensions, and {tool.title} takes {span}"
        if (
            tool.largest_dimension is not None
            and max(shape[1:], default=0) > tool.largest_dimension
        ):
            return f"{spec.name!r} is {max(shape[1:])} long; the limit is {tool.largest_dimension}"
    return None


def _refuse_batches(region: Region, engine: Engine) -> str | None:
    tool = _tool(engine)
    kinds = [op.type for op in region.operators if op.type in tool.single_batch]
    if kinds and any(spec.shape and spec.shape[0] != 1 for spec in region.inputs):
        return f"{tool.title} takes {kinds[0]} for a batch of one only"
    return None


def _values(region: Region) -> Iterator[ValueSpec]:
    yield from region.inputs
    yield from region.outputs


RULES = (
    Rule(
        "handoff.engine",
        "The engine must be an NPU whose board file names the vendor's tool (`vendor.tool`).",
        _refuse_engine,
    ),
    Rule(
        "handoff.precision",
        "The region must be quantised to 8 bits, its border included, or be float16 where the tool "
        "takes that.",
        _refuse_precision,
    ),
    Rule(
        "handoff.operator",
        "Every operator must be in the table of the vendor's tool (docs/handoff.md).",
        _refuse_operators,
    ),
    Rule(
        "handoff.static-shapes",
        "All shapes at the region's border must be known.",
        _refuse_open_shapes,
    ),
    Rule(
        "handoff.sizes",
        "Tensors must have as many dimensions, and be as long, as the vendor's tool takes.",
        _refuse_sizes,
    ),
    Rule(
        "handoff.batch",
        "Operators that the tool takes for a batch of one only must have a batch of one.",
        _refuse_batches,
    ),
)
