"""One of ONNX's backend node tests, taken through the whole of edgeweave with TVM first."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx


class Result(StrEnum):
    """What became of a node test."""

    PASS = "pass"
    FALLBACK = "fallback"
    AS_REFERENCE = "as ONNX Runtime"
    REFUSED = "refused"
    REFUSED_RUNNABLE = "refused although ONNX Runtime runs it"
    WRONG = "wrong"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True)
class Case:
    """A node test: its model as bytes, and sets of (inputs, outputs) with their tolerance."""

    name: str
    model: bytes
    data_sets: tuple[tuple[list[Any], list[Any]], ...]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Outcome:
    """What became of a test: why, which operators fell back for which rule, and how long it took.

    ``fallbacks`` holds ``operators: rule`` of each region that ONNX Runtime runs.
    """

    name: str
    result: Result
    detail: str = ""
    fallbacks: tuple[str, ...] = ()
    seconds: float = 0.0


class Bench:
    """What the tests of one process share: an engine of this machine and the checks of regions."""

    def __init__(self, place: int) -> None:
        from edgeweave.compiler.check_worker import CheckWorker
        from edgeweave.compiler.checks import Checks
        from edgeweave.targets.cache import open_cache
        from edgeweave.targets.host import detect_host

        host = detect_host(open_cache())
        engine = host.engines[place % len(host.engines)]
        self.board = replace(host, engines=(engine,), links=(), is_host=False)
        self.checks = Checks(self.board, open_cache())
        self.worker = CheckWorker()

    def close(self) -> None:
        """End the process that checks regions."""
        self.worker.close()


def run_case(case: Case, bench: Bench) -> Outcome:
    """Take one test through the whole flow."""
    from edgeweave.runtime.errors import EdgeweaveError

    begin = time.perf_counter()
    proto = onnx.ModelProto.FromString(case.model)
    try:
        with tempfile.TemporaryDirectory(prefix="edgeweave-") as folder:
            outcome = _compile_and_run(case, proto, bench, Path(folder) / "test.bundle")
    except EdgeweaveError as error:
        refused = _refuses(case, proto)
        result = Result.REFUSED if refused else Result.REFUSED_RUNNABLE
        outcome = Outcome(case.name, result, refused or f"{type(error).__name__}: {error}")
    return replace(outcome, seconds=round(time.perf_counter() - begin, 3))


def _compile_and_run(
    case: Case, proto: onnx.ModelProto, bench: Bench, destination: Path
) -> Outcome:
    from edgeweave.compiler.pipeline import build_bundle
    from edgeweave.runtime.bundle import open_bundle
    from edgeweave.runtime.pipeline import Pipeline

    planned = plan_on_tvm(proto, _shapes(case, proto), bench)
    compiled = build_bundle(planned, destination)
    fallbacks = _fallbacks(planned)
    with open_bundle(compiled.bundle) as bundle, Pipeline(bundle) as pipeline:
        for given, wanted in case.data_sets:
            feeds = _feeds(proto, given)
            results = pipeline.run(feeds)
            outputs = [results[info.name] for info in proto.graph.output]
            fault = _fault(case, proto, outputs, wanted)
            if fault:
                return _judge(case, proto, feeds, outputs, fault, fallbacks)
    return Outcome(case.name, Result.FALLBACK if fallbacks else Result.PASS, fallbacks=fallbacks)


def plan_on_tvm(proto: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], bench: Bench) -> Any:
    """A plan with every region on the cpu backend that it does not refuse."""
    from edgeweave.compiler.frontend import load_model
    from edgeweave.compiler.pipeline import Planned
    from edgeweave.compiler.regions import find_regions
    from edgeweave.partition.plan import Request
    from edgeweave.partition.prediction.cost_model import cost_table
    from edgeweave.partition.solve import solve
    from edgeweave.targets.backend import Refusal

    def refuse(region: Any, engine: Any, backend: str) -> Refusal | None:
        if backend != "cpu" and checks.refuse(region, engine, "cpu") is None:
            return Refusal("test.tvm-first", "the cpu backend takes it")
        return checks.refuse(region, engine, backend)

    checks = bench.checks
    model = load_model(proto, shapes)
    regions = find_regions(model)
    checks.run(checks.missing(regions, timed=False), worker=bench.worker)
    table = cost_table(regions.graph, bench.board, {}, refuse)
    request = Request(max_stages=max(1, len(regions.graph.regions)), time_limit_s=0.5)
    plan = solve(table, request, bench.board.name)
    return Planned(model, regions, bench.board, table, plan, checks)


def _fallbacks(planned: Any) -> tuple[str, ...]:
    """``operators: rule`` of every region that is not on the cpu backend."""
    found = []
    regions = planned.regions.graph.regions
    for region, placement in zip(regions, planned.plan.placements, strict=True):
        if placement.slot.backend != "cpu":
            refusal = planned.checks.refuse(region, planned.board.engines[0], "cpu")
            labels = "+".join(operator.label for operator in region.operators)
            found.append(f"{labels}: {refusal.rule}: {refusal.reason}")
    return tuple(found)


def _feeds(proto: onnx.ModelProto, given: Sequence[Any]) -> dict[str, Any]:
    weights = {tensor.name for tensor in proto.graph.initializer}
    names = [info.name for info in proto.graph.input]
    return {n: v for n, v in zip(names, given, strict=False) if n not in weights}


def _shapes(case: Case, proto: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of the first data set for the tensors whose shape the model leaves open."""
    given = _feeds(proto, case.data_sets[0][0]) if case.data_sets else {}
    return {
        info.name: np.shape(given[info.name])
        for info in proto.graph.input
        if info.name in given
        and info.type.HasField("tensor_type")
        and _is_open(info.type.tensor_type)
    }


def _is_open(kind: onnx.TypeProto.Tensor) -> bool:
    return not kind.HasField("shape") or any(not d.HasField("dim_value") for d in kind.shape.dim)


def _fault(
    case: Case, proto: onnx.ModelProto, outputs: Sequence[Any], wanted: Sequence[Any]
) -> str:
    """How the outputs differ from the wanted ones by onnx's tolerance; "" when they do not."""
    from edgeweave.runtime.compare import Tolerance, compare

    for info, got, want in zip(proto.graph.output, outputs, wanted, strict=False):
        # onnx's runner allows two units in the last place of a bfloat16
        coarse = getattr(want, "dtype", np.dtype("f4")).name == "bfloat16"
        rtol = max(case.rtol, 2.0**-6) if coarse else case.rtol
        found = compare(info.name, got, want, Tolerance(case.atol, rtol))
        if not found.passed:
            return f"{info.name!r}: {found.mismatch}, max abs error {found.max_abs:.3g}"
    return ""


def _judge(
    case: Case,
    proto: onnx.ModelProto,
    feeds: dict[str, Any],
    outputs: list[Any],
    fault: str,
    fallbacks: tuple[str, ...],
) -> Outcome:
    """Why the outputs are not the shipped ones: by ONNX Runtime's doing or by ours."""
    try:
        reference = run_reference(case.model, feeds)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's have no common base
        return Outcome(case.name, Result.WRONG, f"{fault}; ONNX Runtime: {error}", fallbacks)
    if not _fault(case, proto, outputs, reference):
        return Outcome(case.name, Result.AS_REFERENCE, fault, fallbacks)
    return Outcome(case.name, Result.WRONG, fault, fallbacks)


def run_reference(model: bytes, feeds: dict[str, Any]) -> list[Any]:
    """ONNX Runtime's own outputs for the model as it is given."""
    from edgeweave.runtime.onnxruntime_runner import OnnxRuntimeRunner

    with tempfile.TemporaryDirectory(prefix="edgeweave-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        runner = OnnxRuntimeRunner(path, 1)
        try:
            return runner.run([feeds.get(name) for name in runner.input_names])
        finally:
            runner.close()


def _refuses(case: Case, proto: onnx.ModelProto) -> str:
    """Why ONNX Runtime does not run the test itself; "" when it does."""
    try:
        for given, _ in case.data_sets:
            run_reference(case.model, _feeds(proto, given))
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's have no common base
        return f"ONNX Runtime: {str(error).splitlines()[0][:300]}"
    return ""
