"""Published networks as ONNX files with random weights: the same work as the real ones.

Layers, shapes and paddings are those of the published architecture, so a compiler, an estimate or
a latency sees what it would see of the trained network; what they compute means nothing. Batch
normalisation is folded into the convolutions. The networks of MLPerf Tiny that classify end in
their Softmax, those for ImageNet before it. Weights follow the seed alone. Sources:

  MLPerf Tiny          C. Banbury et al., "MLPerf Tiny Benchmark", arXiv:2106.07597
  MobileNetV1          A. Howard et al., arXiv:1704.04861
  MobileNetV2          M. Sandler et al., arXiv:1801.04381
  EfficientNet-Lite0   tensorflow/tpu, models/official/efficientnet/lite
  ResNet-50            K. He et al., arXiv:1512.03385; v1.5 strides in the 3 x 3 convolution
  ResNet-50 v2         K. He et al., arXiv:1603.05027, as in Keras' applications
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
SHRINK = 0.5  # of what a residual branch adds, so that deep sums stay in range


class Network:
    """A network while it is put together: each method adds a layer and returns its value's name.

    Values are NCHW, or (N, features) behind ``pool``; their shapes are in ``shapes``.
    """

    def __init__(self, name: str, shape: Sequence[int], seed: int) -> None:
        self.name = name
        self.input = "input"
        self.shapes = {self.input: tuple(shape)}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int | tuple[int, int] = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        symmetric: bool = False,
        relu: int | None = None,
        gain: float = 1.0,
    ) -> str:
        """A convolution that keeps the size but for its stride, with its bias and activation.

        ``relu`` is None, 0 for no upper bound, or the bound (6). What is padded lies at the end
        where it is odd, as in TensorFlow, or alike on both sides if ``symmetric``, as in PyTorch.
        """
        _, depth, height, width = self.shapes[x]
        kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = [
            _pads(n, k, stride, symmetric) for n, k in zip((height, width), kernels, strict=True)
        ]
        size = [-(-n // stride) for n in (height, width)]
        fan_in = depth // groups * math.prod(kernels)
        scale = gain * math.sqrt((1 if relu is None else 2) / fan_in)
        y = self._add(
            "Conv",
            [x, self._random((channels, depth // groups, *kernels), scale)],
            (1, channels, *size),
            bias=channels,
            kernel_shape=list(kernels),
            strides=[stride, stride],
            pads=[begin for begin, _ in pads] + [end for _, end in pads],
            group=groups,
        )
        return y if relu is None else self.relu(y, relu)

    def depthwise(self, x: str, kernel: int = 3, stride: int = 1, relu: int = 0) -> str:
        """A convolution of each channel alone."""
        channels = self.shapes[x][1]
        return self.conv(x, channels, kernel, stride, groups=channels, relu=relu)

    def dense(self, x: str, features: int, relu: int | None = None) -> str:
        """A fully connected layer with its bias and activation."""
        depth = self.shapes[x][1]
        scale = math.sqrt((1 if relu is None else 2) / depth)
        weight = self._random((features, depth), scale)
        y = self._add("Gemm", [x, weight], (1, features), bias=features, transB=1)
        return y if relu is None else self.relu(y, relu)

    def relu(self, x: str, bound: int = 0) -> str:
        """Relu, or Clip from 0 to the bound."""
        if not bound:
            return self._add("Relu", [x], self.shapes[x])
        limits = [self._constant(np.float32(value)) for value in (0, bound)]
        return self._add("Clip", [x, *limits], self.shapes[x])

    def scale(self, x: str) -> str:
        """A batch normalisation that no convolution stands before: a factor and a summand."""
        shape = (1, self.shapes[x][1], 1, 1)
        factor = self._constant(1 + 0.1 * self.random.standard_normal(shape))
        y = self._add("Mul", [x, factor], self.shapes[x])
        return self._add("Add", [y, self._random(shape, 0.1)], self.shapes[x])

    def add(self, x: str, y: str) -> str:
        """The sum of two values of one shape."""
        return self._add("Add", [x, y], self.shapes[x])

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """A maximum over windows, padded alike on all sides."""
        _, depth, *size = self.shapes[x]
        out = [(n + 2 * pad - kernel) // stride + 1 for n in size]
        kernels, strides, pads = [kernel] * 2, [stride] * 2, [pad] * 4
        return self._add(
            "MaxPool", [x], (1, depth, *out), kernel_shape=kernels, strides=strides, pads=pads
        )

    def pool(self, x: str, kernel: tuple[int, int] | None = None) -> str:
        """The mean of each channel, over all of it or its first window, as (N, channels)."""
        depth = self.shapes[x][1]
        if kernel is None:
            y = self._add("GlobalAveragePool", [x], (1, depth, 1, 1))
        else:
            sides = list(kernel)
            y = self._add("AveragePool", [x], (1, depth, 1, 1), kernel_shape=sides, strides=sides)
        return self._add("Flatten", [y], (1, depth))

    def softmax(self, x: str) -> str:
        """Probabilities of the classes."""
        return self._add("Softmax", [x], self.shapes[x], axis=1)

    def finish(self, output: str) -> onnx.ModelProto:
        """The checked model with one output, shapes of all values included."""
        infos = {
            name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in self.shapes.items()
        }
        ends = infos.pop(self.input), infos.pop(output)
        graph = helper.make_graph(
            self.nodes, self.name, [ends[0]], [ends[1]], self.weights, value_info=[*infos.values()]
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _add(
        self, kind: str, inputs: list[str], shape: Sequence[int], bias: int = 0, **attributes: Any
    ) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        if bias:
            inputs = [*inputs, self._random((bias,), 0.1)]
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.shapes[name] = tuple(shape)
        return name

    def _random(self, shape: Sequence[int], scale: float) -> str:
        return self._constant(scale * self.random.standard_normal(shape, np.float32))

    def _constant(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name


def _pads(size: int, kernel: int, stride: int, symmetric: bool) -> tuple[int, int]:
    """Before and behind one axis, so that ``size / stride``, rounded up, remains."""
    if symmetric:
        return kernel // 2, kernel // 2
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def mobilenet_v1(name: str, seed: int, size: int, width: float, tiny: bool) -> onnx.ModelProto:
    """Thirteen pairs of a depthwise and a 1 x 1 convolution; ``width`` scales the channels.

    ``tiny`` is MLPerf Tiny's, for visual wake words: ReLU in place of ReLU6, and two classes.
    """
    net = Network(name, (1, 3, size, size), seed)
    relu = 0 if tiny else 6
    x = net.conv(net.input, int(32 * width), 3, 2, relu=relu)
    pairs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    pairs += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for channels, stride in pairs:
        x = net.depthwise(x, 3, stride, relu)
        x = net.conv(x, int(channels * width), 1, relu=relu)
    x = net.dense(net.pool(x), 2 if tiny else 1001)
    return net.finish(net.softmax(x) if tiny else x)


def inverted_residuals(
    name: str, seed: int, blocks: Sequence[tuple[int, int, int, int, int]]
) -> onnx.ModelProto:
    """MobileNetV2 and its like at 224 x 224; a block is (kernel, expansion, channels, n, stride).

    Each is repeated ``n`` times, the first time with its stride.
    """
    net = Network(name, (1, 3, 224, 224), seed)
    x = net.conv(net.input, 32, 3, 2, relu=6)
    for kernel, expansion, channels, count, first_stride in blocks:
        for stride in (first_stride, *[1] * (count - 1)):
            depth = net.shapes[x][1]
            y = x if expansion == 1 else net.conv(x, expansion * depth, 1, relu=6)
            y = net.depthwise(y, kernel, stride, 6)
            joins = stride == 1 and depth == channels
            y = net.conv(y, channels, 1, gain=SHRINK if joins else 1.0)
            x = net.add(x, y) if joins else y
    x = net.conv(x, 1280, 1, relu=6)
    return net.finish(net.dense(net.pool(x), 1000))


MOBILENET_V2 = (
    (3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (3, 6, 32, 3, 2), (3, 6, 64, 4, 2), (3, 6, 96, 3, 1),
    (3, 6, 160, 3, 2), (3, 6, 320, 1, 1),
)  # fmt: skip
EFFICIENTNET_LITE0 = (
    (3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2), (3, 6, 320, 1, 1),
)  # fmt: skip


def resnet8(name: str, seed: int) -> onnx.ModelProto:
    """MLPerf Tiny, image classification: three residual blocks on 32 x 32 images."""
    net = Network(name, (1, 3, 32, 32), seed)
    x = net.conv(net.input, 16, relu=0)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(x, channels, 3, stride, relu=0)
        y = net.conv(y, channels, 3, gain=SHRINK)
        x = x if stride == 1 else net.conv(x, channels, 1, stride)
        x = net.relu(net.add(x, y))
    return net.finish(net.softmax(net.dense(net.pool(x), 10)))


def resnet50(name: str, seed: int) -> onnx.ModelProto:
    """Version 1.5: of a block that halves the size, the 3 x 3 convolution does."""
    net = Network(name, (1, 3, 224, 224), seed)
    conv = partial(net.conv, symmetric=True)
    x = net.max_pool(conv(net.input, 64, 7, 2, relu=0), 3, 2, pad=1)
    for channels, count, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(count):
            stride = first_stride if block == 0 else 1
            y = conv(x, channels, 1, relu=0)
            y = conv(y, channels, 3, stride, relu=0)
            y = conv(y, 4 * channels, 1, gain=SHRINK)
            x = conv(x, 4 * channels, 1, stride) if block == 0 else x
            x = net.relu(net.add(x, y))
    return net.finish(net.dense(net.pool(x), 1000))


def resnet50_v2(name: str, seed: int) -> onnx.ModelProto:
    """Normalisation and activation before each block; the last block of a stack halves the size."""
    net = Network(name, (1, 3, 224, 224), seed)
    conv = partial(net.conv, symmetric=True)
    x = net.max_pool(conv(net.input, 64, 7, 2), 3, 2, pad=1)
    for channels, count, last_stride in ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1)):
        for block in range(count):
            stride = last_stride if block == count - 1 else 1
            before = net.relu(net.scale(x))
            if block == 0:
                x = conv(before, 4 * channels, 1)
            elif stride > 1:
                x = net.max_pool(x, 1, stride)
            y = conv(before, channels, 1, relu=0)
            y = conv(y, channels, 3, stride, relu=0)
            x = net.add(x, conv(y, 4 * channels, 1, gain=SHRINK))
    x = net.relu(net.scale(x))
    return net.finish(net.dense(net.pool(x), 1000))


def ds_cnn(name: str, seed: int) -> onnx.ModelProto:
    """MLPerf Tiny, keyword spotting: four depthwise separable convolutions on 49 x 10 features."""
    net = Network(name, (1, 1, 49, 10), seed)
    x = net.conv(net.input, 64, (10, 4), 2, relu=0)
    for _ in range(4):
        x = net.conv(net.depthwise(x), 64, 1, relu=0)
    return net.finish(net.softmax(net.dense(net.pool(x, (24, 5)), 12)))


def autoencoder(name: str, seed: int) -> onnx.ModelProto:
    """MLPerf Tiny, anomaly detection: ten fully connected layers, 640 values in and out."""
    net = Network(name, (1, 640), seed)
    x = net.input
    for features in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = net.dense(x, features, relu=0)
    return net.finish(net.dense(x, 640))


NETWORKS: dict[str, Callable[[str, int], onnx.ModelProto]] = {
    "autoencoder": autoencoder,
    "ds_cnn": ds_cnn,
    "efficientnet_lite0_224": partial(inverted_residuals, blocks=EFFICIENTNET_LITE0),
    "mobilenet_v1_025_96": partial(mobilenet_v1, size=96, width=0.25, tiny=True),
    "mobilenet_v1_025_128": partial(mobilenet_v1, size=128, width=0.25, tiny=False),
    "mobilenet_v1_224": partial(mobilenet_v1, size=224, width=1.0, tiny=False),
    "mobilenet_v2_224": partial(inverted_residuals, blocks=MOBILENET_V2),
    "resnet8": resnet8,
    "resnet50_224": resnet50,
    "resnet50_v2_224": resnet50_v2,
}


def build(name: str, seed: int = 0) -> onnx.ModelProto:
    """The network of that name, float32, NCHW, batch 1; KeyError for a name that is not known."""
    return NETWORKS[name](name, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=NETWORKS, metavar="NAME")
    parser.add_argument("-o", dest="folder", type=Path, default=Path(), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        path = options.folder / f"{name}.onnx"
        onnx.save(build(name, options.seed), path)
        print(path)


if __name__ == "__main__":
    main()
