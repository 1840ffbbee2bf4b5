"""Channels of similar size: scales that move from values into the weights around them.

int8 has one scale for all channels of a value, so small channels have few steps. Where layers stand
before and after it, a channel can be enlarged by the one and reduced by the other: cross-layer
equalisation (M. Nagel and others, Data-free quantization through weight equalization and bias
correction, 2019), here by the ranges on calibration frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from edgeweave.compiler.graph import GraphView
from edgeweave.compiler.quantize.scales import keeps_scale

# Least and greatest number of each channel of a value.
ChannelRanges = Mapping[str, np.ndarray]
_Channel = tuple[str, int]

# f(k x) = k f(x) for each channel x and k > 0
_HOMOGENEOUS = frozenset(
    "Relu LeakyRelu PRelu MaxPool AveragePool GlobalAveragePool GlobalMaxPool".split()
)
# A channel's size is raised to this power: 1 makes all channels of a value equal, 0 leaves them.
# Reasons and measurements: docs/quantization.md.
_STRENGTH = 0.7
_LEAST_FACTOR = 1 / 32


@dataclass(frozen=True)
class _Layer:
    """A Conv or ConvTranspose with constant weights."""

    node: onnx.NodeProto
    weight: np.ndarray
    groups: int

    @property
    def is_transposed(self) -> bool:
        return self.node.op_type == "ConvTranspose"

    @property
    def is_depthwise(self) -> bool:
        """Whether each input channel has weights of its own scale."""
        return not self.is_transposed and self.weight.shape[1] == 1

    def scaled(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The weights for inputs that are divided by ``before`` and outputs by ``after``."""
        weight = self.weight.astype(np.float64)
        spatial = (1,) * (weight.ndim - 2)
        grouped = weight.reshape(self.groups, -1, *weight.shape[1:])
        if self.is_transposed:  # (groups, inputs, outputs per group, ...)
            rows = before.reshape(self.groups, -1, 1, *spatial)
            columns = after.reshape(self.groups, 1, -1, *spatial)
        else:  # (groups, outputs, inputs per group, ...)
            rows = before.reshape(self.groups, 1, -1, *spatial)
            columns = after.reshape(self.groups, -1, 1, *spatial)
        return np.asarray(grouped * rows / columns, np.float32).reshape(weight.shape)


def equalize(view: GraphView, ranges: ChannelRanges) -> onnx.ModelProto:
    """The model with channels of similar size wherever the layers around them take the factors.

    It computes the same up to float rounding. ``ranges`` are the largest absolute numbers of each
    channel of the float32 values of rank 3 and more.
    """
    layers = dict(_layers(view, ranges))
    classes = _Classes(view, ranges, layers)
    factors = _factors(classes, ranges, layers)
    result = onnx.ModelProto()
    result.CopyFrom(view.proto)
    for position, layer in layers.items():
        node = result.graph.node[position]
        before, after = factors[node.input[0]], factors[node.output[0]]
        if (before == 1).all() and (after == 1).all():
            continue
        _replace(result.graph, node, 1, layer.scaled(before, after))
        if len(node.input) > 2 and node.input[2]:
            bias = numpy_helper.to_array(view.initializers[node.input[2]]).astype(np.float64)
            _replace(result.graph, node, 2, (bias / after).astype(np.float32))
    _drop_unused(result.graph)
    return result


def _layers(view: GraphView, ranges: ChannelRanges) -> Iterator[tuple[int, _Layer]]:
    for position, node in enumerate(view.nodes):
        if node.op_type not in ("Conv", "ConvTranspose") or node.domain not in ("", "ai.onnx"):
            continue
        if node.input[0] not in ranges or node.output[0] not in ranges:
            continue
        if all(name in view.initializers for name in node.input[1:] if name):
            weight = numpy_helper.to_array(view.initializers[node.input[1]])
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            yield position, _Layer(node, weight, groups)


class _Classes:
    """Channels that must have one factor; those of ``fixed`` classes must have none."""

    def __init__(
        self, view: GraphView, ranges: ChannelRanges, layers: Mapping[int, _Layer]
    ) -> None:
        self._parent: dict[_Channel, _Channel] = {}
        self._ranges = ranges
        bound = [info.name for info in view.proto.graph.input]
        bound += [info.name for info in view.proto.graph.output]
        for position, node in enumerate(view.nodes):
            if position in layers:
                continue
            if not self._passes(view, node):
                bound += [*view.reads[position], *node.output]
        self.fixed = {
            self.of((name, c)) for name in bound if name in ranges for c in range(len(ranges[name]))
        }

    def of(self, channel: _Channel) -> _Channel:
        """The channel that stands for the class of ``channel``."""
        root = channel
        while (above := self._parent.get(root, root)) != root:
            root = above
        while channel != root:
            self._parent[channel], channel = root, self._parent[channel]
        return root

    def _join(self, first: str, second: str, start: int = 0) -> None:
        """Channels of ``first`` and those of ``second`` from ``start`` on have one factor."""
        for channel in range(len(self._ranges[first])):
            self._parent[self.of((first, channel))] = self.of((second, start + channel))

    def _passes(self, view: GraphView, node: onnx.NodeProto) -> bool:
        """Join the channels that ``node`` takes and gives; False where it mixes or bends them."""
        result = node.output[0] if node.output else ""
        if node.domain not in ("", "ai.onnx") or result not in self._ranges:
            return False
        if node.op_type in _HOMOGENEOUS and node.input[0] in self._ranges:
            self._join(node.input[0], result)
            return len(node.output) == 1
        if node.op_type in ("Pad", "Resize") and node.input[0] in self._ranges:
            images = [view.shape(name) for name in (node.input[0], result)]
            sizes = [shape[:2] for shape in images if shape is not None]
            if len(sizes) < 2 or sizes[0] != sizes[1] or not keeps_scale(view, node):
                return False
            self._join(node.input[0], result)
            return True
        operands = [name for name in node.input if name]
        if any(name not in self._ranges for name in operands):
            return False
        if node.op_type in ("Add", "Sub"):
            if any(view.shape(name) != view.shape(result) for name in operands):
                return False
            for name in operands:
                self._join(name, result)
            return True
        if node.op_type == "Concat" and _axis(node, view.shape(result)) == 1:
            start = 0
            for name in operands:
                self._join(name, result, start)
                start += len(self._ranges[name])
            return True
        return False


def _axis(node: onnx.NodeProto, shape: tuple[int, ...] | None) -> int | None:
    axis = next((a.i for a in node.attribute if a.name == "axis"), None)
    return None if axis is None or shape is None else axis % len(shape)


def _factors(
    classes: _Classes, ranges: ChannelRanges, layers: Mapping[int, _Layer]
) -> dict[str, np.ndarray]:
    """By value the number that each channel is divided by, at most 1."""
    sizes: dict[_Channel, float] = {}
    for name, sizes_here in ranges.items():
        greatest = float(sizes_here.max(initial=0.0))
        for channel, size in enumerate(sizes_here):
            root = classes.of((name, channel))
            share = float(size) / greatest if greatest > 0 else 1.0
            sizes[root] = max(sizes.get(root, 0.0), share)
    # the weights of other layers have one scale for several input channels, and lose steps
    shared = {
        classes.of((layer.node.input[0], channel))
        for layer in layers.values()
        if not layer.is_depthwise
        for channel in range(len(ranges[layer.node.input[0]]))
    }

    def factor(channel: _Channel) -> float:
        root = classes.of(channel)
        if root in classes.fixed or sizes[root] == 0.0:
            return 1.0
        strength = _STRENGTH if root in shared else 1.0
        return max(_LEAST_FACTOR, float(sizes[root] ** strength))

    return {
        name: np.array([factor((name, channel)) for channel in range(len(size))])
        for name, size in ranges.items()
    }


def _replace(graph: onnx.GraphProto, node: onnx.NodeProto, place: int, array: np.ndarray) -> None:
    """A weight of the node's own: others may read the same one."""
    name = f"{node.output[0]}/{('weight', 'bias')[place - 1]}/equalized"
    graph.initializer.append(numpy_helper.from_array(array, name))
    node.input[place] = name


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    used |= {info.name for info in graph.output}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used and not _captures(graph):
            del graph.initializer[index]


def _captures(graph: onnx.GraphProto) -> bool:
    """Whether subgraphs may read weights under their outer names."""
    return any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
