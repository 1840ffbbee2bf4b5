"""What the npu_ethos_u backend does not take, and why.

The first rules look at a region before anything is built. The others speak while a stage is built,
about attributes, constants and shapes: the emitter's, then Vela's, which has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Rule
from edgeweave.targets.board import Engine
from edgeweave.targets.npu_ethos_u.accelerator import find_architecture
from edgeweave.targets.npu_ethos_u.emit.refusals import RULES as EMITTER_RULES
from edgeweave.targets.npu_ethos_u.operators import OPERATORS, vela_operators
from edgeweave.targets.region import Region

_BYTES = ("int8", "uint8")


def _refuse_other_engines(_region: Region, engine: Engine) -> str | None:
    if engine.kind != "npu":
        return f"{engine.name} is a {engine.kind}"
    if find_architecture(engine) is None:
        named = engine.vendor.get("accelerator")
        return f"{engine.name} names {f'{named!r}' if named else 'none'} as its accelerator"
    return None


def _refuse_floats(region: Region, _engine: Engine) -> str | None:
    operators = region.operators
    if operators[0].label == "DequantizeLinear" and operators[-1].label == "QuantizeLinear":
        return None
    return "it is no quantised block: none that a DequantizeLinear begins and a QuantizeLinear ends"


def _refuse_operators(region: Region, engine: Engine) -> str | None:
    unknown = dict.fromkeys(op.label for op in region.operators if op.label not in OPERATORS)
    if unknown:
        return f"{', '.join(unknown)} has no form in int8 TFLite here"
    architecture = find_architecture(engine)
    assert architecture is not None  # the rule before says so
    placed = vela_operators(architecture)
    for op in region.operators:
        forms = OPERATORS[op.type]
        if forms and not set(forms) & set(placed):
            return f"Vela places no {' or '.join(forms)} on {engine.vendor['accelerator']}"
    return None


def _borders(region: Region) -> Iterator[ValueSpec]:
    yield from region.inputs
    yield from region.outputs


def _refuse_types(region: Region, _engine: Engine) -> str | None:
    for spec in _borders(region):
        if spec.dtype not in _BYTES:
            return f"value {spec.name!r} is a {spec.type or 'value of unknown type'}"
    return None


def _refuse_shapes(region: Region, _engine: Engine) -> str | None:
    for spec in _borders(region):
        if not spec.is_static:
            return f"the shape of {spec.name!r} depends on the data"
        if spec.nbytes == 0:
            return f"{spec.name!r} has no elements"
    return None


STATIC_RULES = (
    Rule(
        "ethos-u.engine",
        "The engine is an NPU whose vendor settings name an Ethos-U accelerator.",
        _refuse_other_engines,
    ),
    Rule(
        "ethos-u.block",
        "The region begins with a DequantizeLinear and ends with a QuantizeLinear.",
        _refuse_floats,
    ),
    Rule(
        "ethos-u.operator",
        "Every operator is one that int8 TFLite expresses with the same meaning, by an operator "
        "that Vela places on the accelerator's architecture (constraints.json, made from Vela's).",
        _refuse_operators,
    ),
    Rule(
        "ethos-u.border",
        "Every value at the border is a tensor of int8 or uint8.",
        _refuse_types,
    ),
    Rule(
        "ethos-u.shape",
        "Every shape at the border is known, and holds at least one element.",
        _refuse_shapes,
    ),
)


def _says_nothing(_region: Region, _engine: Engine) -> str | None:
    return None


# Which rules of the build there are; a region shows too little for them.
BUILD_RULES = (
    *(
        Rule(name, f"{text} Checked when the stage is built.", _says_nothing)
        for name, text in EMITTER_RULES.items()
        if name not in {rule.id for rule in STATIC_RULES}
    ),
    Rule(
        "ethos-u.vela",
        "Vela compiles the stage for the accelerator and leaves no operator of it to a CPU. "
        "Checked when the stage is built.",
        _says_nothing,
    ),
    Rule(
        "ethos-u.sram",
        "What Vela plans to hold in SRAM at one time fits into the SRAM of the engine's settings. "
        "Checked when the stage is built.",
        _says_nothing,
    ),
)

RULES = (*STATIC_RULES, *BUILD_RULES)
