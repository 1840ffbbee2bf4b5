"""Random QDQ graphs through the emitter for Ethos-U, its integers and Vela, and what came out.

Each graph is refused by a rule, or

- LiteRT's reference kernels and our own integers make the same of it, bit for bit,
- it makes the same of it whether or not every value inside is an output as well,
- every operator's result is within some steps of what ONNX Runtime, without optimisation, makes of
  the same quantised inputs (``steps_allowed``), and
- Vela compiles it for three accelerators and leaves no operator to a CPU.

All else is a finding: it is printed with the number that draws the graph again (--only).
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx

from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import first_refusal
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.accelerator import read_accelerator
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused
from edgeweave.targets.npu_ethos_u.emit.stage import TfliteModel, emit_stage
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate
from edgeweave.targets.npu_ethos_u.rules import STATIC_RULES
from edgeweave.targets.npu_ethos_u.vela import Vela
from edgeweave.targets.region import Operator, Region

_FOLDER = Path(__file__).resolve().parents[1] / "tests/targets/npu_ethos_u"
_spec = importlib.util.spec_from_file_location("random_operators", _FOLDER / "random_operators.py")
assert _spec is not None
assert _spec.loader is not None
random_operators = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_operators)

_NONE = Quantity(0.0, "not used")
_VENDORS = (
    ("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
    ("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram_384KB"),
    ("ethos-u85-512", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
)
# TFLite fixes the scale of these results; ours is reached in a second step
_FIXED_SCALE = {"Sigmoid": 1 / 256, "Softmax": 1 / 256, "Tanh": 1 / 128}
# the operator works at its operand's scale, and requantises then
_SCALE_OF_OPERAND = frozenset("AveragePool Resize".split())


@dataclass(frozen=True)
class Outcome:
    """What became of a graph.

    ``refused`` counts the rules, one per accelerator and per graph; ``compiled`` the accelerators.
    ``steps`` counts the elements by operator and by their distance, in steps, from what ONNX
    Runtime makes of the same operands; ``whole`` those of the outputs by that from the whole
    graph's.
    """

    graph: str = ""
    refused: Counter[str] = field(default_factory=Counter)
    compiled: int = 0
    steps: Counter[tuple[str, int]] = field(default_factory=Counter)
    whole: Counter[int] = field(default_factory=Counter)
    finding: str = ""


def engines() -> tuple[Engine, ...]:
    """The three accelerators, each as an engine of a board."""
    return tuple(
        Engine(
            name=name,
            kind="npu",
            description=name,
            backends=("npu_ethos_u",),
            peak_gops={},
            compute_efficiency=_NONE,
            memory_efficiency=_NONE,
            call_overhead_us=_NONE,
            vendor={"accelerator": name, "system_config": config, "memory_mode": mode},
        )
        for name, config, mode in _VENDORS
    )


def check(graph: Any, vela: Vela) -> Outcome:
    """Take a graph through all that the head of this file names."""
    refused: Counter[str] = Counter()
    willing = []
    for engine in engines():
        rule = _static_rule(graph, engine)
        if rule is None:
            willing.append(engine)
        else:
            refused[f"{rule} on {engine.name}"] += 1
    try:
        emitted = emit_stage(graph.model(), "random")
        whole = emit_stage(graph.model(every_value=True), "random")
    except Refused as refusal:
        refused[refusal.rule] += 1
        return Outcome(str(graph), refused)
    finding, steps, ends = _compare(graph, emitted, whole)
    compiled = 0
    for engine in willing:
        said = _compile(emitted.blob, engine, vela)
        finding = finding or said
        compiled += not said
    return Outcome(str(graph), refused, compiled, steps, ends, finding)


def _static_rule(graph: Any, engine: Engine) -> str | None:
    for block in graph.blocks:
        refusal = first_refusal(STATIC_RULES, _region(block), engine)
        if refusal is not None:
            return refusal.rule
    return None


def _region(block: Any) -> Region:
    """A block as the compiler would describe it to the rules."""
    values = [o for o in block.node.operands if isinstance(o, random_operators.Value)]
    tail = () if block.tail is None else ("Relu",) if math.isinf(block.tail[1]) else ("Clip",)
    kind = [] if block.node.kind == random_operators.random_graphs.REQUANTISE else [block.node.kind]
    kinds = [*["DequantizeLinear"] * len(values), *kind, *tail, "QuantizeLinear"]
    return Region(
        index=0,
        operators=tuple(Operator(kind, "", f"n{k}") for k, kind in enumerate(kinds)),
        inputs=tuple(map(_spec_of, values)),
        outputs=tuple(map(_spec_of, block.results)),
        flops=0,
        bytes_moved=0,
        weight_bytes=0,
        precision="int8",
        digest="",
    )


def _spec_of(value: Any) -> ValueSpec:
    return ValueSpec(value.name, f"tensor({value.dtype})", value.shape)


def _compare(
    graph: Any, emitted: TfliteModel, whole: TfliteModel
) -> tuple[str, Counter[tuple[str, int]], Counter[int]]:
    """What differs that must not, and the distances from ONNX Runtime."""
    steps: Counter[tuple[str, int]] = Counter()
    ends: Counter[int] = Counter()
    ours = run_integers(graph, emitted)
    for name, found, wanted in zip(
        [v.name for v in graph.outputs], ours, run_reference(graph, emitted), strict=True
    ):
        wrong = int((found != wanted).sum())
        if wrong:
            return f"{name}: {wrong} of {found.size} differ from LiteRT's", steps, ends
    inside = dict(zip([b.name for b in whole.outputs], run_integers(graph, whole), strict=True))
    for value, found in zip(graph.outputs, ours, strict=True):
        if not np.array_equal(found, inside[value.name]):
            return f"{value.name} changes when all values are outputs", steps, ends
    feeds = {v.name: v.numbers for v in graph.inputs} | inside
    again = random_operators.random_graphs.run_model(graph.opened(), feeds)
    for (block, value), wanted in zip(every_result(graph), again, strict=True):
        counted = _distances(inside[value.name], wanted)
        steps.update({(block.node.kind, step): number for step, number in counted.items()})
        if max(counted) > steps_allowed(block, value):
            said = f"{block.node.kind} {value.name} is {max(counted)} steps from ONNX Runtime's"
            return said, steps, ends
    for value, found in zip(graph.outputs, ours, strict=True):
        ends.update(_distances(found, value.numbers))
    return "", steps, ends


def _distances(found: np.ndarray, wanted: np.ndarray) -> dict[int, int]:
    """How many elements are how many steps apart."""
    distance = np.abs(found.astype(np.int64) - wanted)
    return {int(d): int(n) for d, n in zip(*np.unique(distance, return_counts=True), strict=True)}


def every_result(graph: Any) -> list[tuple[Any, Any]]:
    return [(block, value) for block in graph.blocks for value in block.results]


def steps_allowed(block: Any, value: Any) -> int:
    """How many steps of its scale a result may be from ONNX Runtime's, inputs being equal.

    One, for both round the exact result to an integer, TFLite twice. A result that is rounded at a
    coarser scale first may be off by half a step of that scale more.
    """
    kind, first = block.node.kind, block.node.operands[0]
    coarse = _FIXED_SCALE.get(kind, 0.0)
    if kind in _SCALE_OF_OPERAND:
        coarse = float(first.scale)
    return 1 + math.ceil(0.5 * coarse / float(value.scale))


def run_integers(graph: Any, emitted: TfliteModel) -> list[np.ndarray]:
    return _from_borders(emitted, evaluate(emitted.blob, _to_borders(graph, emitted)))


def run_reference(graph: Any, emitted: TfliteModel) -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=emitted.blob,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    for detail, value in zip(details, _to_borders(graph, emitted), strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    return _from_borders(emitted, outputs)


def _to_borders(graph: Any, emitted: TfliteModel) -> list[np.ndarray]:
    pairs = zip(emitted.inputs, graph.inputs, strict=True)
    return [_moved(value.numbers, border.permutation) for border, value in pairs]


def _from_borders(emitted: TfliteModel, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    pairs = zip(emitted.outputs, values, strict=True)
    return [_moved(value, border.permutation) for border, value in pairs]


def _moved(value: np.ndarray, permutation: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(value.transpose(permutation)) if permutation else value


def _compile(blob: bytes, engine: Engine, vela: Vela) -> str:
    """What Vela says against it, or "" when the whole of it is on the NPU."""
    try:
        vela.compile(blob, read_accelerator(engine), engine.name)
    except TargetError as error:
        return str(error)
    return ""


def check_number(number: int) -> Outcome:
    """Draw the graph of a number and check it; an error of ours is a finding, too."""
    graph = random_operators.draw_graph(Random(number).randint)
    if not graph.blocks:
        return Outcome()
    try:
        return check(graph, _vela())
    except (EdgeweaveError, RuntimeError, ValueError, LookupError, AssertionError) as error:
        return Outcome(str(graph), finding=f"{type(error).__name__}: {error}")


_open: list[Vela] = []


def _vela() -> Vela:
    """One for this process."""
    if not _open:
        _open.append(Vela())
    return _open[0]


def check_all(numbers: Sequence[int], tell: Callable[[int, Outcome], None]) -> None:
    """Check graph after graph in another process, which a fault in native code may end."""
    left = list(numbers)
    while left:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            try:
                for number in list(left):
                    outcome = pool.submit(check_number, number).result()
                    tell(left.pop(0), outcome)
            except BrokenProcessPool:
                tell(left.pop(0), Outcome(finding="it ends the process"))


def show(outcomes: Sequence[Outcome]) -> None:
    refused: Counter[str] = Counter()
    steps: Counter[tuple[str, int]] = Counter()
    whole: Counter[int] = Counter()
    for outcome in outcomes:
        refused.update(outcome.refused)
        steps.update(outcome.steps)
        whole.update(outcome.whole)
    drawn = [outcome for outcome in outcomes if outcome.graph]
    print(f"tried {len(drawn)} graphs ({len(outcomes) - len(drawn)} drawn empty)")
    print(f"compiled {sum(o.compiled for o in drawn)} times, of three accelerators each")
    print(f"findings {sum(bool(o.finding) for o in outcomes)}")
    for rule, count in refused.most_common():
        print(f"  refused by {rule}: {count}")
    print("elements of outputs by steps from ONNX Runtime's for the whole graph:")
    print("  " + "  ".join(f"{step}: {count}" for step, count in sorted(whole.items())))
    print("elements by steps from ONNX Runtime's for the same operands:")
    for kind in sorted({kind for kind, _ in steps}):
        own = {step: count for (k, step), count in sorted(steps.items()) if k == kind}
        print(f"  {kind:18} " + "  ".join(f"{step}: {count}" for step, count in own.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="graphs to draw")
    parser.add_argument("--seed", type=int, default=0, help="the first graph's number")
    parser.add_argument("--only", type=int, help="draw this number alone, and write its files")
    parser.add_argument("--into", type=Path, default=Path(), help="where --only writes")
    options = parser.parse_args()
    if options.only is not None:
        write_files(options.only, options.into)
        print(check_number(options.only))
        return
    outcomes = []

    def tell(number: int, outcome: Outcome) -> None:
        outcomes.append(outcome)
        if outcome.finding:
            print(f"{number}: {outcome.finding}\n    {outcome.graph}", flush=True)

    check_all(range(options.seed, options.seed + options.count), tell)
    show(outcomes)
    sys.exit(any(outcome.finding for outcome in outcomes))


def write_files(number: int, folder: Path) -> None:
    """The graph as ONNX and, where it is not refused, as TFLite."""
    graph = random_operators.draw_graph(Random(number).randint)
    model = graph.model()
    onnx.save(model, folder / f"{number}.onnx")
    try:
        (folder / f"{number}.tflite").write_bytes(emit_stage(model, str(number)).blob)
    except Refused as refusal:
        print(refusal)


if __name__ == "__main__":
    main()
