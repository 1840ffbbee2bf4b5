"""Build one region alone, compare it with ONNX Runtime on random inputs, and time it.

TVM's importer converts some operators wrongly, so no region is trusted before it was checked.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.pack import BuiltStage, stage_entry
from edgeweave.compiler.region_model import RegionModel
from edgeweave.compiler.sampling import Style, random_inputs
from edgeweave.compiler.split import StageSource
from edgeweave.compiler.timing import REPEATS, Timing, time_runners
from edgeweave.compiler.tolerances import Tolerances
from edgeweave.compiler.types import value_spec
from edgeweave.runtime.compare import compare, explained
from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.runtime.nudge import nudged
from edgeweave.runtime.runners import Runner, find_loader, first_line
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Slot, StageModel, VendorEstimate
from edgeweave.targets.board import Engine
from edgeweave.targets.errors import BuildError
from edgeweave.targets.region import Region

_STYLES: tuple[Style, ...] = ("normal", "unit", "wide", "small-ints")
# Operators whose result for infinities and NaN decides what a model does: attention masks are
# minus infinity, and a row that is masked as a whole is found by its largest value.
_ON_SPECIALS = {"IsInf", "IsNaN"}
_ON_INFINITIES = {"ReduceMax", "ReduceMin", "Softmax", "LogSoftmax", "ReduceLogSumExp", "TopK"}


class Verdict(StrEnum):
    """What building and running a region alone showed."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNBUILDABLE = "unbuildable"
    UNVERIFIED = "unverified"
    CRASHED = "crashed"


@dataclass(frozen=True)
class CheckTask:
    """A region to check on an engine of this machine, through each of the backends."""

    region: Region
    model: RegionModel
    engine: Engine
    backends: tuple[str, ...]
    timed: bool
    repeats: int = REPEATS


@dataclass(frozen=True)
class CheckResult:
    """The verdict on one backend's code for a region; ``timing`` is None when it was not timed.

    ``estimate_s`` are the seconds that a vendor's tool states, where the backend has such a tool.
    ``is_passing`` says that the next try may end otherwise.
    """

    backend: str
    verdict: Verdict
    detail: str
    timing: Timing | None
    estimate_s: float | None = None
    is_passing: bool = False


def check_region(task: CheckTask) -> list[CheckResult]:
    """Check a region through each backend, in this process; never raises for a bad region."""
    source = with_random_weights(task)
    operators = {operator.type for operator in task.region.operators}
    expected = reference_samples(source.stage.model, operators)
    results: dict[str, CheckResult] = {}
    equal: dict[str, Runner] = {}
    with ExitStack() as stack:
        for backend in task.backends:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeweave-")))
            stage = replace(source.stage, slot=Slot(task.engine.name, backend))
            try:
                runner, estimate = _open(replace(source, stage=stage), task.engine, folder)
            except EdgeweaveError as error:
                passing = isinstance(error, BuildError) and error.is_passing
                results[backend] = CheckResult(
                    backend, Verdict.UNBUILDABLE, error.reason, None, is_passing=passing
                )
                continue
            stack.callback(runner.close)
            found = _check(runner, stage, expected)
            stated_s = None if estimate is None else estimate.seconds
            results[backend] = replace(found, estimate_s=stated_s)
            if results[backend].verdict is Verdict.EQUAL:
                equal[backend] = runner
        if task.timed and expected:
            times = time_runners(
                list(equal.values()), expected[0].inputs, task.engine.cores, task.repeats
            )
            for backend, timing in zip(equal, times, strict=True):
                results[backend] = replace(results[backend], timing=timing)
    return list(results.values())


def _check(runner: Runner, stage: StageModel, expected: list[Sample]) -> CheckResult:
    backend = stage.slot.backend
    try:
        verdict, detail = compare_samples(runner, stage, expected)
    except Exception as error:  # noqa: BLE001 - generated code and its runtime raise what they like
        return CheckResult(backend, Verdict.UNBUILDABLE, f"run: {first_line(error)}", None)
    return CheckResult(backend, verdict, detail, None)


def _open(
    source: StageSource, engine: Engine, folder: Path
) -> tuple[Runner, VendorEstimate | None]:
    """The built region, opened, and its vendor's figure."""
    stage = source.stage
    artifact = build_stage(source, engine, folder)
    built = BuiltStage(
        name=stage.name,
        slot=stage.slot,
        cores=engine.cores,
        inputs=stage.inputs,
        outputs=stage.outputs,
        predicted_s=0.0,
        artifact=artifact,
        model=b"",
    )
    entry = stage_entry(built)
    runner = find_loader(entry, {})(entry, folder, engine.cores)
    if engine.cores:  # TVM's thread pool narrows the mask of the thread that sets it up
        os.sched_setaffinity(0, engine.cores)
    return runner, artifact.estimate


@dataclass(frozen=True)
class Sample:
    """Random inputs of one style, and ONNX Runtime's outputs for them.

    ``moved`` are those for nudged inputs, where several quantised layers round one after another.
    """

    style: str
    inputs: list[Any]
    outputs: list[Any]
    moved: list[Any] | None = None


def reference_samples(
    model: onnx.ModelProto, operators: Collection[str] = (), limit: int | None = None
) -> list[Sample]:
    """Sets of random inputs, up to ``limit``, that ONNX Runtime accepts, and what it returns.

    There are none for a model with inputs of unknown type, or that it does not open. ``operators``
    are the model's operator types; those that treat infinities apart are given some.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    samples: list[Sample] = []
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        trials = list(_trials([value_spec(info) for info in model.graph.input], operators))
    except Exception:  # noqa: BLE001 - its exceptions have no common base
        return samples
    for style, inputs in trials:
        try:
            outputs = session.run(None, inputs)
        except Exception:  # noqa: BLE001 - these values are out of the operator's domain
            continue
        moved = session.run(None, nudged(inputs)) if _rounds_often(model) else None
        samples.append(Sample(style, list(inputs.values()), outputs, moved))
        if len(samples) == limit:
            break
    return samples


def _rounds_often(model: onnx.ModelProto) -> bool:
    return sum(node.op_type == "QuantizeLinear" for node in model.graph.node) > 1


def _trials(
    specs: Sequence[ValueSpec], operators: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sets of inputs by name, each with the words for it."""
    for seed, style in enumerate(_STYLES):
        inputs = random_inputs(specs, seed, style)
        if _ON_SPECIALS & set(operators):
            specials = np.array([np.inf, -np.inf, np.nan, -0.0])
            inputs = {name: _overwrite(value, specials, 2) for name, value in inputs.items()}
        yield style, inputs
    if _ON_INFINITIES & set(operators):
        inputs = random_inputs(specs, len(_STYLES))
        kinds = [("partly masked", -np.inf, 2), ("masked", -np.inf, 1)]
        if "ReduceMin" in operators:
            kinds.append(("infinite", np.inf, 1))
        for words, value, step in kinds:
            yield words, {n: _overwrite(v, np.array([value]), step) for n, v in inputs.items()}


def _overwrite(value: Any, specials: Any, step: int) -> Any:
    """A float tensor with special values in every ``step``-th place; other values as they are."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    flat = value.reshape(-1).copy()
    flat[::step] = np.resize(specials, flat[::step].shape)
    return flat.reshape(value.shape)


def compare_samples(
    runner: Runner, stage: StageModel, expected: Sequence[Sample]
) -> tuple[Verdict, str]:
    """The verdict on a stage's outputs for the samples, and what is wrong with them."""
    if not any(_says_something(sample.outputs) for sample in expected):
        return Verdict.UNVERIFIED, "ONNX Runtime returns no numbers for random inputs"
    for sample in expected:
        fault = agrees(runner, stage, sample)
        if fault:
            return Verdict.DIFFERENT, fault
    return Verdict.EQUAL, ""


def agrees(runner: Runner, stage: StageModel, sample: Sample) -> str:
    """What is wrong with a stage's outputs for a sample; "" when they are ONNX Runtime's."""
    allowed = Tolerances.of(stage.model, len(stage.regions))
    results = runner.run(sample.inputs)
    moved = sample.moved or [None] * len(results)
    for spec, got, wanted, own in zip(stage.outputs, results, sample.outputs, moved, strict=True):
        if getattr(got, "dtype", None) != getattr(wanted, "dtype", None):
            return f"{spec.name!r} comes as {getattr(got, 'dtype', type(got).__name__)}"
        tolerance = allowed.of_output(spec.name, wanted)
        found = compare(spec.name, got, wanted, tolerance)
        if not found.passed and own is not None:
            found = explained(found, compare(spec.name, own, wanted, tolerance))
        if not found.passed:
            error = f"max abs error {found.max_abs:.3g} on {sample.style} inputs"
            return f"{error} ({found.mismatch})"
    return ""


def _says_something(outputs: list[Any]) -> bool:
    arrays = [np.asarray(value) for value in outputs]
    return all(
        array.size == 0 or array.dtype.kind not in "fc" or not np.isnan(array).all()
        for array in arrays
    )


def with_random_weights(task: CheckTask) -> StageSource:
    """The region as a stage of its own, under canonical names, with random weights."""
    model = onnx.ModelProto()
    model.CopyFrom(task.model.proto)
    infos = list(model.graph.input)
    count = len(task.model.inputs)
    weights = random_weights(infos[count:])
    del model.graph.input[count:]
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in weights.items())
    outputs = [info.name for info in model.graph.output]
    part = replace(
        task.model,
        inputs=tuple(info.name for info in infos[:count]),
        weights=tuple(weights),
        outputs=tuple(outputs),
    )
    stage = StageModel(
        name=task.region.name,
        slot=Slot(task.engine.name, task.backends[0]),
        regions=(task.region,),
        model=model,
        inputs=tuple(value_spec(info) for info in infos[:count]),
        outputs=tuple(
            replace(spec, name=name)
            for spec, name in zip(task.region.outputs, outputs, strict=True)
        ),
        weights=tuple(weights),
    )
    return StageSource(stage, (part,))


def random_weights(infos: list[onnx.ValueInfoProto]) -> dict[str, Any]:
    """Random weights; vectors are positive, since some are variances."""
    weights: dict[str, Any] = {}
    for seed, spec in enumerate(map(value_spec, infos)):
        style: Style = "unit" if len(spec.shape or ()) <= 1 else "normal"
        weights |= random_inputs([spec], seed, style)
    return weights
