"""The ranges of values on calibration frames, and which values share one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgeweave.compiler.graph import GraphView
from edgeweave.compiler.quantize.calibration import Calibration
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.peaks import Peaks
from edgeweave.compiler.quantize.sessions import Session
from edgeweave.compiler.quantize.silence import silenced

if TYPE_CHECKING:
    from edgeweave.compiler.quantize import Progress
    from edgeweave.compiler.quantize.settings import Method

Ranges = dict[str, tuple[float, float]]

_FLOAT = onnx.TensorProto.FLOAT
# With ONNX Runtime's own 128 bins the entropy has no range to choose from but the whole.
_HISTOGRAMS: dict[str, dict[str, Any]] = {
    "entropy": {"num_bins": 512, "num_quantized_bins": 128, "percentile": None},
    "percentile": {"num_bins": 2048, "num_quantized_bins": 2048, "percentile": 99.999},
}


def find_ranges(
    proto: onnx.ModelProto, calibration: Calibration, method: Method, progress: Progress
) -> Ranges:
    """Least and greatest number of every computed float32 value and input, by the method.

    Raises QuantizeError where a value is no number on one of the frames.
    """
    names = _float_values(proto)
    session = Session(_with_outputs(proto, names), names)
    collector = _collector(method)
    ranges: Ranges = {}
    peaks = Peaks(proto)
    for index, frame in enumerate(calibration.frames):
        progress("calibrate", index, len(calibration.frames), calibration.sources[index])
        found = dict(zip(names, session.run(frame), strict=True))
        for name, value in found.items():
            ranges[name] = _widened(ranges.get(name), value, name, calibration.sources[index])
        peaks.add(found)
        if collector is not None:
            with silenced():
                collector.collect({name: v for name, v in found.items() if v.size})
    if collector is not None:
        with silenced():
            chosen = collector.compute_collection_result()
        ranges |= {name: (float(low), float(high)) for name, (low, high, *_) in chosen.items()}
    return peaks.cut(ranges)


def find_channel_ranges(
    view: GraphView, calibration: Calibration, progress: Progress
) -> dict[str, np.ndarray]:
    """The largest absolute number of each channel of every float32 value of rank 3 and more."""
    names = [n for n in _float_values(view.proto) if len(view.spec(n).shape or ()) >= 3]
    found: dict[str, np.ndarray] = {}
    if not names:
        return found
    session = Session(_with_outputs(view.proto, names), names)
    for index, frame in enumerate(calibration.frames):
        progress("channels", index, len(calibration.frames), calibration.sources[index])
        for name, value in zip(names, session.run(frame), strict=True):
            axes = tuple(axis for axis in range(value.ndim) if axis != 1)
            size = np.maximum(value.max(axes, initial=0.0), -value.min(axes, initial=0.0))
            found[name] = np.maximum(found.get(name, 0.0), size)
    return found


def _collector(method: Method) -> Any:
    if method == "minmax":
        return None
    from onnxruntime.quantization.calibrate import HistogramCollector

    return HistogramCollector(method, symmetric=False, scenario="same", **_HISTOGRAMS[method])


def _widened(
    known: tuple[float, float] | None, value: np.ndarray, name: str, source: str
) -> tuple[float, float]:
    low, high = known or (np.inf, -np.inf)
    if value.size:
        low, high = min(low, float(value.min())), max(high, float(value.max()))
    if not value.size and known is None:
        return 0.0, 0.0
    if not np.isfinite((low, high)).all():
        raise QuantizeError(
            f"value {name!r}",
            f"is a NaN or an infinity on calibration frame {source}",
            "Check the preprocessing (--scale, --mean, --std) and the frame",
        )
    return low, high


def _float_values(proto: onnx.ModelProto) -> list[str]:
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    infos = {info.name: info for info in (*graph.value_info, *graph.output)}
    computed = [name for node in graph.node for name in node.output if name in infos]
    return [
        *(i.name for i in graph.input if _is_float(i) and i.name not in weights),
        *(name for name in computed if _is_float(infos[name])),
    ]


def _is_float(info: onnx.ValueInfoProto) -> bool:
    return info.type.tensor_type.elem_type == _FLOAT


def _with_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with all these values as outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    known: Collection[str] = {info.name for info in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    return copy
