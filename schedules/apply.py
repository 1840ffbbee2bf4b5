"""Give every kernel of a lowered module its schedule."""

from __future__ import annotations

import logging

from tvm import IRModule
from tvm.target import Target, codegen
from tvm.tirx import PrimFunc

from edgeweave.schedules.cpu_default import schedule_kernel
from edgeweave.schedules.int8.elementwise import schedule_elementwise

_LOG = logging.getLogger(__name__)
SCHEDULED = "tirx.is_scheduled"  # the attribute of a function whose loops are left as they are


def apply_schedules(module: IRModule, target: Target) -> IRModule:
    """Schedule every PrimFunc for the target; one that cannot be tiled keeps its plain loops."""
    lanes = vector_lanes(target)
    functions = dict(module.functions)
    for name, function in functions.items():
        if not isinstance(function, PrimFunc) or SCHEDULED in function.attrs:
            continue
        try:
            scheduled = schedule_elementwise(function, lanes) or schedule_kernel(function, lanes)
            functions[name] = scheduled.with_attr(SCHEDULED, True)
        except Exception as error:  # noqa: BLE001 - TVM raises its own types for loops it cannot move
            _LOG.debug("%s keeps its plain loops: %s", name.name_hint, str(error)[-200:])
    return IRModule(functions, attrs=module.attrs)


def vector_lanes(target: Target) -> int:
    """float32 elements in one vector register of the target's CPU."""
    for feature, lanes in (("avx512f", 16), ("avx", 8)):
        if codegen.llvm_cpu_has_features(feature, target):
            return lanes
    return 4
