"""What int8 gains on this machine's CPU: TVM and ONNX Runtime, int8 and float32, side by side.

Every model is quantised with frames of a folder, or with random ones, and each of the four runs it
in turn in every round, once untimed and once timed, on as many cores as is said. Prints a Markdown
table of models, or with --layers of their convolutions and products.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.integer.layer import find_layer
from edgeweave.compiler.model import Model
from edgeweave.compiler.pack import BuiltStage, stage_entry
from edgeweave.compiler.quantize.quantize import quantize_model
from edgeweave.compiler.quantize.settings import QuantizeSettings
from edgeweave.compiler.regions import find_regions
from edgeweave.compiler.sampling import random_inputs
from edgeweave.compiler.split import cut_stage
from edgeweave.runtime.runners import find_loader
from edgeweave.targets.backend import Slot
from edgeweave.targets.cache import open_cache
from edgeweave.targets.host import detect_host

LIGHT = Path(onnx.__path__[0]) / "backend/test/data/light"
MODELS = (LIGHT / "light_squeezenet.onnx", LIGHT / "light_resnet50.onnx")
PAUSE_S = 0.1  # until the threads of the one before have stopped to wait for work in a loop
FRAMES = 4  # random ones, where no folder of frames is given
CONTENDERS = ("TVM int8", "TVM fp32", "ONNX Runtime int8", "ONNX Runtime fp32")
Frame = Mapping[str, Any]
Run = Callable[[Frame], list[Any]]
RATIOS = ((0, 1), (0, 3), (2, 3))  # of contenders


@dataclass(frozen=True)
class Times:
    """Milliseconds of each contender by round, and how TVM's int8 differs from ONNX Runtime's."""

    name: str
    threads: int
    ms: Sequence[Sequence[float]]
    differ: float
    furthest: float

    def row(self) -> str:
        """One line of the table."""
        medians = [statistics.median(taken) for taken in self.ms]
        cells = [self.name, str(self.threads)]
        for median, taken in zip(medians, self.ms, strict=True):
            low, _, high = statistics.quantiles(taken, n=4)
            cells.append(f"{median:.3g} ({low:.3g} … {high:.3g})")
        cells += [f"{medians[one] / medians[other]:.2f}" for one, other in RATIOS]
        cells.append(f"{self.differ:.2%}, {self.furthest:.2%}")
        return f"| {' | '.join(cells)} |"


def head(first: str) -> str:
    ratios = [f"{CONTENDERS[one]} / {CONTENDERS[other]}" for one, other in RATIOS]
    differ = "values that differ between the int8s, the furthest as part of the range"
    columns = [first, "cores", *(f"{name}, ms" for name in CONTENDERS), *ratios, differ]
    return f"| {' | '.join(columns)} |\n|---{'|---:' * (len(columns) - 1)}|"


def with_weights(model: Model) -> Model:
    """The model with random weights in place of those that are all alike, as the light models'."""
    generator = np.random.default_rng(0)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.ndim > 1 and np.ptp(value) == 0:
            spread = np.sqrt(2 / np.prod(value.shape[1:]))
            drawn = (generator.standard_normal(value.shape) * spread).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
    return load_model(proto)


def quantised(model: Model, frames: Path | None) -> Model:
    """The model in int8, calibrated on the folder's frames or on random ones."""
    with tempfile.TemporaryDirectory() as folder:
        if frames is None:
            frames = Path(folder)
            for seed in range(FRAMES):
                np.savez(frames / f"{seed}.npz", **random_inputs(model.inputs, seed, "unit"))
        settings = QuantizeSettings("int8", frames)
        return load_model(quantize_model(model, settings, lambda *_: None).proto)


def open_tvm(model: Model, folder: Path, cores: tuple[int, ...]) -> Run:
    """The model as one stage that TVM builds for these cores."""
    engine = replace(detect_host(open_cache()).engines[0], cores=cores)
    regions = find_regions(model)
    slot = Slot(engine.name, "cpu")
    source = cut_stage(regions, "whole", slot, range(len(regions.graph.regions)))
    artifact = build_stage(source, engine, folder)
    stage = source.stage
    built = BuiltStage("whole", slot, cores, stage.inputs, stage.outputs, 0.0, artifact, b"")
    entry = stage_entry(built)
    runner = find_loader(entry, {})(entry, folder, cores)
    place = {spec.name: number for number, spec in enumerate(stage.outputs)}
    order = [place[spec.name] for spec in model.outputs]

    def run(frame: Frame) -> list[Any]:
        results = runner.run([frame[spec.name] for spec in stage.inputs])
        return [results[number] for number in order]

    return run


def open_peer(model: Model, threads: int) -> Run:
    """ONNX Runtime on the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [spec.name for spec in model.outputs]
    return lambda frame: list(session.run(names, dict(frame)))


def compare(name: str, models: Sequence[Model], cores: tuple[int, ...], rounds: int) -> Times:
    """Run the int8 and the float32 model on the cores, through both, in turn."""
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory() as folder:
        opened: list[Run] = []
        for model in models:
            where = Path(folder) / str(len(opened))
            opened.append(open_tvm(model, where, cores))
            os.sched_setaffinity(0, cores)  # TVM's thread pool narrows it
        runs = [*opened, *(open_peer(model, len(cores)) for model in models)]
        frames = [random_inputs(model.inputs, 1, "unit") for model in models] * 2
        pairs = list(zip(runs, frames, strict=True))
        outputs = [[np.array(value) for value in run(frame)] for run, frame in pairs]
        taken: list[list[float]] = [[] for _ in runs]
        for _ in range(rounds):
            for (run, frame), times in zip(pairs, taken, strict=True):
                time.sleep(PAUSE_S)
                run(frame)
                begin = time.perf_counter()
                run(frame)
                times.append((time.perf_counter() - begin) * 1e3)
    return Times(name, len(cores), taken, *difference(outputs[0], outputs[2]))


def difference(got: Sequence[Any], wanted: Sequence[Any]) -> tuple[float, float]:
    """The share of values that differ, and by how much of the output's range at most."""
    gaps = [np.abs(a.astype(float) - b.astype(float)) for a, b in zip(got, wanted, strict=True)]
    spans = [max(float(np.ptp(value.astype(float))), 1e-30) for value in wanted]
    differ = sum(int(np.count_nonzero(gap)) for gap in gaps) / sum(gap.size for gap in gaps)
    return differ, max(float(gap.max()) / span for gap, span in zip(gaps, spans, strict=True))


def layers(model: Model) -> Iterator[tuple[str, tuple[Model, Model]]]:
    """Each different convolution and product of an int8 model, and the same in float32."""
    seen = set()
    for part in find_regions(model).models:
        layer = find_layer(part.proto)
        if layer is None:
            continue
        shapes = [tuple(operand_shape(operand)) for operand in layer.operands]
        attributes = {k: v for k, v in layer.attributes.items() if k != "kernel_shape"}
        words = " × ".join("×".join(map(str, shape)) for shape in shapes)
        name = f"{layer.operator} {words} {json.dumps(attributes, default=str)}"
        if name not in seen:
            seen.add(name)
            yield name, (load_model(part.proto), load_model(in_float(part.proto)))


def operand_shape(operand: Any) -> Sequence[int]:
    shape: Sequence[int] = getattr(operand, "shape", ()) or operand.values.shape
    return shape


def in_float(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A region's model without its quantisation: weights as float32, inputs too."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    names: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            names[node.output[0]] = node.input[0]
            if node.input[0] in tensors:
                value = np.asarray(tensors[node.input[0]] * np.float32(0.01), np.float32)
                tensors[node.input[0]] = value
        elif node.op_type == "QuantizeLinear":
            names[graph.output[0].name] = node.input[0]
        else:
            node.input[:] = [names.get(name, name) for name in node.input]
            kept.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    kept[-1].output[0] = graph.output[0].name
    used = {name for node in kept for name in node.input}
    weights = [numpy_helper.from_array(v, n) for n, v in tensors.items() if n in used]
    for info in (*graph.input, *graph.output):
        info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    plain = helper.make_graph(kept, "layer", graph.input, graph.output, weights)
    return helper.make_model(plain, opset_imports=made.opset_import, ir_version=made.ir_version)


def apart(work: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a process of its own: threads stay where they were pinned."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, default=MODELS)
    parser.add_argument("--frames", type=Path, help="folder of calibration frames")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layers", action="store_true", help="time their layers instead")
    options = parser.parse_args()
    present = sorted(os.sched_getaffinity(0))
    print(head("layer" if options.layers else "model"), flush=True)
    for path in options.models:
        plain = with_weights(load_model(path))
        exact = quantised(plain, options.frames)
        pairs = [(f"`{path.name}`", (exact, plain))]
        for name, pair in layers(exact) if options.layers else pairs:
            for count in options.cores:
                cores = tuple(present[-count:])
                print(apart(compare, name, pair, cores, options.rounds).row(), flush=True)


if __name__ == "__main__":
    main()
