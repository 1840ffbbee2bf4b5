"""Lower regions to fused TensorIR, and stitch a stage from its regions' functions.

A region is lowered and fused once, whatever stage it lands in; a stage calls the functions of its
regions and nothing is fused across them. So what is costed and tuned is what is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import onnx
import tvm
from tvm import IRModule, relax
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.target import Target
from tvm.tirx import PrimFunc

from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.importer import import_onnx
from edgeweave.compiler.integer.lower import lower_integer
from edgeweave.compiler.reductions import start_beyond_all
from edgeweave.compiler.region_model import RegionModel
from edgeweave.compiler.types import element_name
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import StageModel

ENTRY = "main"


@dataclass(frozen=True)
class StageBorder:
    """The values a stage takes and returns, and the weights that follow its inputs."""

    inputs: tuple[ValueSpec, ...]
    weights: tuple[ValueSpec, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, stage: StageModel) -> StageBorder:
        """The border of a stage model."""
        tensors = {tensor.name: tensor for tensor in stage.model.graph.initializer}
        weights = (tensors[name] for name in stage.weights)
        return cls(
            inputs=stage.inputs,
            weights=tuple(
                ValueSpec(t.name, f"tensor({element_name(t.data_type)})", tuple(t.dims))
                for t in weights
            ),
            outputs=tuple(spec.name for spec in stage.outputs),
        )


@lru_cache(maxsize=1024)
def _lower(digest: str, proto_bytes: bytes, target: Target) -> IRModule:
    del digest  # the readable part of the key
    model = onnx.ModelProto.FromString(proto_bytes)
    integer = lower_integer(model, target)
    if integer is not None:
        return integer
    module = import_onnx(model)
    passes = [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.CanonicalizeBindings(),
        relax.transform.LegalizeOps(),
    ]
    with target:
        kernels = start_beyond_all(tvm.transform.Sequential(passes)(module))
        return relax.get_pipeline("zero")(kernels)


def lower_region(region: RegionModel, target: Target) -> IRModule:
    """Import a region's model and fuse it; ``main`` takes its inputs, then its weights.

    Raises CompileError with TVM's reason where the importer or a pass cannot take the region.
    """
    try:
        return _lower(region.digest, region.proto.SerializeToString(deterministic=True), target)
    except Exception as error:
        raise CompileError(f"region {region.digest[:12]}", f"TVM: {_reason(error)}") from error


def lower_stage(regions: Sequence[RegionModel], border: StageBorder, target: Target) -> IRModule:
    """Stitch regions, in topological order, into one module.

    ``main`` takes the border's inputs and then its weights, and returns a tuple of its outputs.
    Raises CompileError where a region cannot be lowered.
    """
    builder = relax.BlockBuilder()
    functions: dict[str, relax.GlobalVar] = {}
    for region in regions:
        if region.digest not in functions:
            lowered = lower_region(region, target)
            functions[region.digest] = _adopt(builder, lowered, f"r{len(functions)}")
    variables = {
        spec.name: relax.Var(f"v{place}", relax.TensorType(_static(spec), spec.dtype))
        for place, spec in enumerate((*border.inputs, *border.weights))
    }
    with builder.function(ENTRY, list(variables.values())):
        with builder.dataflow():
            for region in regions:
                arguments = [variables[name] for name in (*region.inputs, *region.weights)]
                called = builder.emit(relax.Call(functions[region.digest], arguments))
                variables |= _results(builder, called, region.outputs)
            result = builder.emit_output(relax.Tuple([variables[n] for n in border.outputs]))
        builder.emit_func_output(result)
    flatten = [
        relax.transform.InlinePrivateFunctions(),
        relax.transform.CanonicalizeBindings(),
        relax.transform.DeadCodeElimination([ENTRY]),
    ]
    return tvm.transform.Sequential(flatten)(builder.get())


def _adopt(builder: relax.BlockBuilder, lowered: IRModule, prefix: str) -> relax.GlobalVar:
    """Add a lowered region's kernels and, as a private function, its main to the module."""
    renamed: dict[Any, relax.GlobalVar] = {}
    for name, function in lowered.functions.items():
        if isinstance(function, PrimFunc):
            private = function.without_attr("global_symbol")
            renamed[name] = builder.add_func(private, f"{prefix}_{name.name_hint}")
    body = _Renamer(renamed).visit_expr(lowered[ENTRY])
    body = relax.utils.copy_with_new_vars(body).without_attr("global_symbol")
    return builder.add_func(body, prefix)


@mutator
class _Renamer(PyExprMutator):  # type: ignore[misc] # TVM publishes no types
    """Replace global variables by those of another module."""

    def __init__(self, renamed: dict[Any, relax.GlobalVar]) -> None:
        super().__init__(None)
        self._renamed = renamed

    def visit_global_var_(self, var: relax.GlobalVar) -> relax.GlobalVar:
        return self._renamed.get(var, var)


def _results(
    builder: relax.BlockBuilder, called: relax.Var, names: Sequence[str]
) -> dict[str, relax.Var]:
    if len(names) == 1 and not isinstance(called.ty, relax.TupleType):
        return {names[0]: called}
    return {
        name: builder.emit(relax.TupleGetItem(called, place)) for place, name in enumerate(names)
    }


def _static(spec: ValueSpec) -> list[int]:
    return [d for d in spec.shape or () if d is not None]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"[:240]
