"""What the cpu backend does not take, and why."""

from __future__ import annotations

from collections.abc import Iterator

from edgeweave.runtime.machine import triple_architecture
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Rule
from edgeweave.targets.board import Engine
from edgeweave.targets.cpu.operators import OPERATORS
from edgeweave.targets.region import Region

_DTYPES = frozenset(
    "float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split()
)


def _refuse_other_engines(_region: Region, engine: Engine) -> str | None:
    if engine.kind == "cpu" and engine.llvm_target:
        return None
    return f"{engine.name} is a {engine.kind} without an LLVM target"


def _refuse_operators(region: Region, _engine: Engine) -> str | None:
    unknown = dict.fromkeys(
        op.label for op in region.operators if op.domain or op.type not in OPERATORS
    )
    return f"TVM's importer has no {', '.join(unknown)}" if unknown else None


def _refuse_subgraphs(region: Region, _engine: Engine) -> str | None:
    return "it contains control flow" if region.has_subgraph else None


def _borders(region: Region) -> Iterator[ValueSpec]:
    yield from region.inputs
    yield from region.outputs


def _refuse_types(region: Region, _engine: Engine) -> str | None:
    for spec in _borders(region):
        if spec.dtype not in _DTYPES:
            return f"value {spec.name!r} is a {spec.type or 'value of unknown type'}"
    return None


def _refuse_halves(region: Region, engine: Engine) -> str | None:
    """Without them LLVM's code converts wrongly, or LLVM itself fails on vectors."""
    if triple_architecture(str(engine.llvm_target.get("mtriple", ""))) != "riscv64":
        return None
    attributes = engine.llvm_target.get("mattr", ())
    wanted = ("+zfh", "+zvfh") if "+v" in attributes else ("+zfh",)
    lacking = [name for name in wanted if name not in attributes]
    dtypes = {region.precision, *(spec.dtype for spec in _borders(region))}
    if not lacking or "float16" not in dtypes:
        return None
    return f"it computes in float16, and mattr of {engine.name} lacks {' and '.join(lacking)}"


def _refuse_dynamic(region: Region, _engine: Engine) -> str | None:
    for spec in _borders(region):
        if not spec.is_static:
            return f"the shape of {spec.name!r} depends on the data"
    return None


def _refuse_empty(region: Region, _engine: Engine) -> str | None:
    for spec in _borders(region):
        if spec.shape is not None and 0 in spec.shape:
            return f"{spec.name!r} has no elements"
    return None


RULES = (
    Rule("cpu.engine", "The engine is a CPU with an LLVM target.", _refuse_other_engines),
    Rule(
        "cpu.operators",
        "Every operator is one of ONNX's own that TVM's importer converts.",
        _refuse_operators,
    ),
    Rule("cpu.subgraphs", "The region holds no If, Loop or Scan.", _refuse_subgraphs),
    Rule(
        "cpu.types",
        "Every value at the border is a tensor of 16- to 64-bit floats, 8- to 64-bit integers or "
        "booleans.",
        _refuse_types,
    ),
    Rule(
        "cpu.halves",
        "A RISC-V engine that computes in float16 names +zfh in its mattr, and with +v also +zvfh.",
        _refuse_halves,
    ),
    Rule("cpu.static-shapes", "Every shape at the border is known.", _refuse_dynamic),
    Rule("cpu.elements", "Every tensor at the border has at least one element.", _refuse_empty),
)
