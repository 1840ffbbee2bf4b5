"""How much each region's int8 costs: the error of an output when only this region rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeweave.compiler.quantize.accuracy import Outputs
from edgeweave.compiler.quantize.calibration import Frame
from edgeweave.compiler.quantize.points import Points, with_points
from edgeweave.compiler.quantize.sessions import Session
from edgeweave.compiler.regions import Regions

if TYPE_CHECKING:
    from edgeweave.compiler.quantize import Progress

# Squared relative errors, one per output of the model.
Errors = np.ndarray


@dataclass(frozen=True)
class Sensitivity:
    """Squared errors by what causes them, relative to the mean square of each output.

    ``inner[r]`` is that of region r's weights and of values that stay inside; ``values`` that of
    each value that crosses a border. ``touching`` are the regions that write or read such a value:
    it is a float only when all of them are.
    """

    outputs: tuple[str, ...]
    inner: tuple[Errors, ...]
    values: Mapping[str, Errors]
    touching: Mapping[str, frozenset[int]]
    produced: tuple[frozenset[str], ...]

    def of_region(self, region: int) -> dict[str, float]:
        """By output the relative RMS error that the region's own roundings cause."""
        total = self.inner[region] + sum(self.values[name] for name in self.produced[region])
        return {
            name: float(np.sqrt(error)) for name, error in zip(self.outputs, total, strict=True)
        }

    def whole(self) -> Errors:
        """The squared error with everything in int8, taken as independent roundings."""
        total = np.zeros(len(self.outputs))
        for error in (*self.inner, *self.values.values()):
            total = total + error
        return total


def measure_sensitivity(
    regions: Regions,
    points: Points,
    frames: Sequence[Frame],
    expected: Sequence[Outputs],
    progress: Progress,
) -> Sensitivity:
    """Round at one region, or one value between regions, at a time; all else is float."""
    view = regions.view
    home = {p: r for r, nodes in enumerate(regions.nodes) for p in nodes}
    touching: dict[str, frozenset[int]] = {}
    inner_values: list[list[str]] = [[] for _ in regions.nodes]
    for name in points.values:
        around = {home[p] for p in view.consumers.get(name, ())}
        if name in view.producer:
            around.add(home[view.producer[name]])
        crosses = len(around) > 1 or name in view.outputs or name not in view.producer
        if crosses:
            touching[name] = frozenset(around)
        else:
            inner_values[min(around)].append(name)
    inner_weights = [
        [n for n in dict.fromkeys(n for p in nodes for n in view.reads[p]) if n in points.weights]
        for nodes in regions.nodes
    ]
    trial = _Trial(regions, points, frames, expected)
    steps = len(regions.nodes) + len(touching)
    inner = []
    for region, (values, weights) in enumerate(zip(inner_values, inner_weights, strict=True)):
        progress("sensitivity", region, steps, regions.graph.regions[region].name)
        inner.append(trial.error(values, weights))
    found = {}
    for index, name in enumerate(touching, len(regions.nodes)):
        progress("sensitivity", index, steps, name)
        found[name] = trial.error([name], [])
    produced = [
        frozenset(n for p in nodes for n in view.nodes[p].output if n in touching)
        for nodes in regions.nodes
    ]
    names = tuple(info.name for info in view.proto.graph.output)
    return Sensitivity(names, tuple(inner), found, touching, tuple(produced))


class _Trial:
    """Runs the float model with a few roundings."""

    def __init__(
        self,
        regions: Regions,
        points: Points,
        frames: Sequence[Frame],
        expected: Sequence[Outputs],
    ) -> None:
        self._proto, self._points = regions.view.proto, points
        self._frames, self._expected = frames, expected

    def error(self, values: Sequence[str], weights: Sequence[str]) -> Errors:
        """By output the squared error, relative to the mean square; the mean over the frames."""
        count = len(self._proto.graph.output)
        if not values and not weights:
            return np.zeros(count)
        session = Session(with_points(self._proto, self._points, values, weights))
        found = [
            [_relative(a, b) for a, b in zip(wanted, session.run(frame), strict=True)]
            for frame, wanted in zip(self._frames, self._expected, strict=True)
        ]
        return np.asarray(np.mean(found, axis=0))


def _relative(wanted: object, got: object) -> float:
    if not isinstance(wanted, np.ndarray) or not isinstance(got, np.ndarray):
        return 0.0
    if wanted.dtype.kind not in "fiub" or not wanted.size:
        return 0.0
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    size = float(np.square(a[finite]).sum())
    error = float(np.square(a[finite] - b[finite]).sum())
    return error / size if size else float(error > 0)
