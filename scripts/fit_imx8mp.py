"""Fit the CPU and the NPU of the i.MX 8M Plus to latencies that NXP publishes of whole networks.

Takes the table of the NXP eIQ model zoo (github.com/NXP/eiq-model-zoo, commit 58c2b00) as CSV with
the columns model, precision, latency_ms and unit. Networks whose architecture is known are built by
scripts/build_models.py and quantised; a network's latency is the sum of its regions' rooflines and
one call. The efficiencies and the call are those that minimise the mean of
|log(predicted / measured)|; the memory's efficiency stays at an assumed half where that costs next
to nothing. Each network is then predicted by a fit to all others, and those that cannot be built by
their published operations alone.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import build_models
import numpy as np
import onnx

from edgeweave.partition.prediction.roofline import require_peak
from edgeweave.targets.board import Board, Engine, Quantity
from edgeweave.targets.board_file import load_board
from edgeweave.targets.region import Region

# The zoo's ResNet-50 is Keras' version 2; its others are the published architectures.
REBUILT = {
    "audio/anomaly-detection/deep-autoencoder": "autoencoder",
    "audio/command-recognition/keyword-spotting_DSCNN": "ds_cnn",
    "vision/classification/efficientnet-lite": "efficientnet_lite0_224",
    "vision/classification/mobilenetv1": "mobilenet_v1_025_128",
    "vision/classification/mobilenetv2": "mobilenet_v2_224",
    "vision/classification/resnet": "resnet50_v2_224",
    "vision/classification/tiny-resnet": "resnet8",
    "vision/classification/visual-wake-word": "mobilenet_v1_025_96",
}
# Millions of operations on the zoo's pages. Left out: YOLOv8 (the page has those of another size),
# YOLACT-Edge (several variants), MoveNet and faceDet (none stated), micro-speech-LSTM (fewer than
# one per weight).
PUBLISHED_MOPS = {
    "audio/speech-recognition/wav2letter": 6982,
    "misc/eegTCNet": 14,
    "vision/classification/MNasNet": 447,
    "vision/monocular-depth-estimation/midas": 9214,
    "vision/object-detection/centernet": 4720,
    "vision/object-detection/nanodet-m": 158,
    "vision/object-detection/ssdlite-mobilenetv2": 1500,
    "vision/object-detection/yolov4tiny": 6900,
    "vision/pose-estimation/whenet": 781,
    "vision/semantic-segmentation/deeplabv3": 1760,
}
# unit of the table -> (engine, its share of the engine's cores)
UNITS = {"CPU (1 thread)": ("a53", 0.25), "CPU (4 threads)": ("a53", 1.0), "NPU": ("npu", 1.0)}
# Where a fit starts, and stays in what the networks leave open. Not the board file: it holds what
# was fitted to all networks, and would tell the fits that leave one out.
_START = (0.143, 0.5, 50.0)  # compute, memory, call in us
_CONVERSIONS = {"QuantizeLinear", "DequantizeLinear"}
_LEAST = 4  # networks: three parameters, and one to leave out
_DETERMINED = 0.02  # the memory's efficiency is fitted where that lowers the mean error by more
_GRID, _ROUNDS, _SHRINK, _PRIOR = 9, 24, 0.6, 1e-3  # as in edgeweave.partition.prediction.calibrate


@dataclass(frozen=True)
class Network:
    """Seconds of each region at full peak and at full bandwidth, and the measured latency.

    ``operations`` are those of all regions.
    """

    name: str
    arithmetic: tuple[float, ...]
    traffic: tuple[float, ...]
    operations: float
    seconds: float

    def predicted(self, engine: Engine) -> float:
        """Seconds by the engine's efficiencies and call."""
        values = [engine.compute_efficiency, engine.memory_efficiency, engine.call_overhead_us]
        compute, memory, overhead_us = (quantity.value for quantity in values)
        work = zip(self.arithmetic, self.traffic, strict=True)
        return overhead_us / 1e6 + sum(max(a / compute, t / memory) for a, t in work)


def read_latencies(path: Path) -> dict[tuple[str, str], float]:
    """Seconds by (model, unit); SystemExit when the file is not such a table."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path} cannot be read: {error}")
    found = {}
    for row in rows:
        if not {"model", "latency_ms", "unit"} <= row.keys():
            sys.exit(f"{path} has no columns model, latency_ms and unit")
        if row["unit"] in UNITS:  # a few rows of the zoo are broken
            try:
                found[row["model"], row["unit"]] = float(row["latency_ms"]) / 1e3
            except ValueError:
                sys.exit(f"{path}: {row['model']} takes {row['latency_ms']!r} ms")
    return found


def quantised_regions(name: str) -> tuple[Region, ...]:
    """The regions of the network in int8, calibrated on noise, without those that only convert."""
    from edgeweave.compiler.frontend import load_model
    from edgeweave.compiler.regions import find_regions

    regions = find_regions(load_model(quantised(build_models.build(name)))).graph.regions
    return tuple(r for r in regions if {op.type for op in r.operators} - _CONVERSIONS)


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with QuantizeLinear and DequantizeLinear, weights per channel."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Noise(CalibrationDataReader):  # type: ignore[misc]  # publishes no types
        def __init__(self) -> None:
            given = model.graph.input[0]
            shape = [dim.dim_value for dim in given.type.tensor_type.shape.dim]
            random = np.random.default_rng(0)
            values = (random.standard_normal(shape).astype(np.float32) for _ in range(2))
            self.frames = ({given.name: value} for value in values)

        def get_next(self) -> Any:
            return next(self.frames, None)

    with tempfile.TemporaryDirectory(prefix="edgeweave-") as folder:
        given, prepared, result = (Path(folder) / f"{n}.onnx" for n in ("given", "pre", "int8"))
        onnx.save(model, given)
        quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(result),
            Noise(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(result)


def networks_of(
    unit: str,
    board: Board,
    latencies: Mapping[tuple[str, str], float],
    regions: Mapping[str, Sequence[Region]],
) -> list[Network]:
    """What is needed of every network that was rebuilt and measured on the unit."""
    name, share = UNITS[unit]
    engine, bandwidth = board.engine(name), board.dram_gb_s.value * 1e9
    return [
        Network(
            model,
            tuple(r.flops / (require_peak(engine, r.precision) * share * 1e9) for r in own),
            tuple(r.bytes_moved / bandwidth for r in own),
            sum(r.flops for r in own),
            latencies[model, unit],
        )
        for model, own in regions.items()
        if (model, unit) in latencies
    ]


def unfitted(engine: Engine) -> Engine:
    """The engine with the values that every fit starts from."""
    compute, memory, call = (Quantity(value, "assumed") for value in _START)
    return replace(
        engine, compute_efficiency=compute, memory_efficiency=memory, call_overhead_us=call
    )


def fit(networks: Sequence[Network], engine: Engine) -> Engine:
    """The engine with the efficiencies and the call that fit the networks best.

    The memory's efficiency stays as it is unless the networks determine it.
    """
    held, free = (_fit(networks, engine, memory=memory) for memory in (False, True))
    return free if error(networks, held) - error(networks, free) > _DETERMINED else held


def error(networks: Sequence[Network], engine: Engine) -> float:
    """Mean |log(predicted / measured)|."""
    return fmean(abs(math.log(n.predicted(engine) / n.seconds)) for n in networks)


def _fit(networks: Sequence[Network], engine: Engine, *, memory: bool) -> Engine:
    """The best point of a grid that starts over the whole range and zooms in."""
    shortest = min(network.seconds for network in networks)
    low, high = np.log([1e-3, 1e-3, min(1e-6, shortest / 2)]), np.log([1.0, 1.0, shortest])
    old = engine.compute_efficiency, engine.memory_efficiency, engine.call_overhead_us
    if not memory:
        low[1] = high[1] = np.log(old[1].value)
    prior = np.clip(np.log([old[0].value, old[1].value, old[2].value / 1e6]), low, high)
    center, span = (low + high) / 2, (high - low) / 2
    best, least = center, math.inf
    for _ in range(_ROUNDS):
        lines = [np.linspace(c - s, c + s, _GRID) for c, s in zip(center, span, strict=True)]
        axes = [np.clip(x, lo, hi) for x, lo, hi in zip(lines, low, high, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        errors = _errors(np.exp(points), networks) + _PRIOR * np.abs(points - prior).sum(axis=1)
        at = int(errors.argmin())
        if errors[at] < least:
            best, least = points[at], float(errors[at])
        center, span = best, span * _SHRINK
    compute, traffic, overhead = (Quantity(float(value), "fitted") for value in np.exp(best))
    return replace(
        engine,
        compute_efficiency=compute,
        memory_efficiency=traffic if memory else engine.memory_efficiency,
        call_overhead_us=Quantity(overhead.value * 1e6, "fitted"),
    )


def _errors(points: Any, networks: Sequence[Network]) -> Any:
    """Mean |log(predicted / measured)| of each point (compute, memory, seconds of a call)."""
    total = np.zeros(len(points))
    for network in networks:
        arithmetic = np.array(network.arithmetic) / points[:, :1]
        work = np.maximum(arithmetic, np.array(network.traffic) / points[:, 1:2]).sum(axis=1)
        total += np.abs(np.log((points[:, 2] + work) / network.seconds))
    return total / len(networks)


def left_out(networks: Sequence[Network], engine: Engine) -> list[float]:
    """Predicted / measured of each network by a fit to all others."""
    ratios = []
    for network in networks:
        others = [other for other in networks if other is not network]
        ratios.append(network.predicted(fit(others, engine)) / network.seconds)
    return ratios


def by_operations(
    unit: str,
    networks: Sequence[Network],
    engine: Engine,
    latencies: Mapping[tuple[str, str], float],
) -> dict[str, float]:
    """Predicted / measured of networks of which only the operations are known.

    They are predicted at the median rate, in operations per second, that the fit gives the others.
    """
    call = engine.call_overhead_us.value / 1e6
    rate = median(n.operations / (n.predicted(engine) - call) for n in networks)
    return {
        model: (call + mops * 1e6 / rate) / latencies[model, unit]
        for model, mops in PUBLISHED_MOPS.items()
        if (model, unit) in latencies
    }


def factor(ratios: Sequence[float]) -> float:
    """The median of how far off the ratios are, as a factor above 1."""
    return math.exp(median(abs(math.log(ratio)) for ratio in ratios))


def report(unit: str, networks: Sequence[Network], engine: Engine, others: Any) -> None:
    """Print the fit of a unit and its errors."""
    fitted = fit(networks, engine)
    values = fitted.compute_efficiency, fitted.memory_efficiency, fitted.call_overhead_us
    print(
        f"\n{unit}: compute_efficiency {values[0].value:.3f}, memory_efficiency "
        f"{values[1].value:.3f}, call_overhead_us {values[2].value:.0f}"
    )
    print(f"{'network':50} measured ms  fitted ms  ratio  ratio left out")
    spared = left_out(networks, engine)
    own = []
    for network, ratio in zip(networks, spared, strict=True):
        predicted = network.predicted(fitted)
        own.append(predicted / network.seconds)
        print(
            f"{network.name:50} {network.seconds * 1e3:11.3f} {predicted * 1e3:10.3f} "
            f"{own[-1]:6.2f} {ratio:15.2f}"
        )
    print(f"median factor: fitted {factor(own):.2f}, left out {factor(spared):.2f}")
    known = by_operations(unit, networks, fitted, others)
    if known:
        told = ", ".join(f"{model.split('/')[-1]} {ratio:.2f}" for model, ratio in known.items())
        print(f"by operations alone, not fitted: {told}")
        print(f"median factor: {factor(list(known.values())):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, metavar="CSV", help="the zoo's latencies")
    options = parser.parse_args()
    latencies, board = read_latencies(options.table), load_board("imx8mp")
    wanted = [model for model in REBUILT if any((model, unit) in latencies for unit in UNITS)]
    regions = {model: quantised_regions(REBUILT[model]) for model in wanted}
    for unit, (engine, _) in UNITS.items():
        networks = networks_of(unit, board, latencies, regions)
        if len(networks) < _LEAST:
            sys.exit(f"{unit}: {len(networks)} networks that can be built; at least {_LEAST}")
        report(unit, networks, unfitted(board.engine(engine)), latencies)


if __name__ == "__main__":
    main()
