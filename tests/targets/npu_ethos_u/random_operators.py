"""Operators of random QDQ graphs: what the Ethos-U emitter takes, and some that it refuses."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_spec = importlib.util.spec_from_file_location(
    "random_graphs", Path(__file__).with_name("random_graphs.py")
)
assert _spec is not None
assert _spec.loader is not None
random_graphs = importlib.util.module_from_spec(_spec)
sys.modules["random_graphs"] = random_graphs  # dataclasses look their module up
_spec.loader.exec_module(random_graphs)
Drawing, Node, Value = random_graphs.Drawing, random_graphs.Node, random_graphs.Value


def draw_graph(integer: Callable[[int, int], int]) -> Any:
    """A random graph; ``integer`` draws an integer from low to high, both included."""
    return Drawing(integer, OPERATORS).draw()


def _window(d: Drawing, x: Value, kernel: Sequence[int], dilate: bool) -> dict[str, Any]:
    """Strides, pads and dilations of a window over an image."""
    sides = len(kernel)
    found: dict[str, Any] = {"strides": [d.pick([1, 1, 2, 2, 3, 4]) for _ in range(sides)]}
    if dilate and d.chance(25):
        found["dilations"] = [d.integer(1, 3) for _ in range(sides)]
    how = d.integer(0, 4)
    if how == 0:
        found["auto_pad"] = d.pick(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif how == 1:  # as most networks have it
        found["pads"] = [k // 2 for k in kernel] * 2
    elif how == 2:
        found["pads"] = [d.integer(0, k - 1) for k in (*kernel, *kernel)]
    return found


def _conv(d: Drawing, x: Value) -> Node | None:
    if len(x.shape) not in (3, 4):
        return None
    channels = x.shape[1]
    group = d.pick([1, 1, channels, *(g for g in (2, 3) if channels % g == 0)])
    kernel = [d.pick([1, 2, 3, 3, 4, 5]) for _ in x.shape[2:]]
    outputs = group * d.integer(1, 3 if group > 1 else 12)
    w = d.weights([outputs, channels // group, *kernel], 0)
    attributes = {"group": group, "kernel_shape": kernel, **_window(d, x, kernel, True)}
    return Node("Conv", [x, w, *d.bias(x, w, outputs)], attributes)


def _conv_transpose(d: Drawing, x: Value) -> Node | None:
    if len(x.shape) != 4:
        return None
    channels = x.shape[1]
    group = d.pick([1, 1, 1, channels])
    kernel = [d.integer(1, 4) for _ in range(2)]
    per_group = d.integer(1, 2 if group > 1 else 8)
    w = d.weights([channels, per_group, *kernel], 1)
    attributes: dict[str, Any] = {"group": group, "kernel_shape": kernel}
    attributes["strides"] = [d.pick([1, 2, 2, 2, 3]) for _ in range(2)]
    if d.chance(40):
        attributes["pads"] = [d.integer(0, k - 1) for k in (*kernel, *kernel)]
    if d.chance(20):
        attributes["output_padding"] = [d.integer(0, s - 1) for s in attributes["strides"]]
    bias = [] if group > 1 and w.scales.size > 1 else d.bias(x, w, group * per_group)
    return Node("ConvTranspose", [x, w, *bias], attributes)


def _gemm(d: Drawing, x: Value) -> Node | None:
    if len(x.shape) != 2:
        return None
    outputs, transposed = d.integer(1, 20), d.integer(0, 1)
    shape = [outputs, x.shape[1]] if transposed else [x.shape[1], outputs]
    w = d.weights(shape, 0 if transposed else 1)
    return Node("Gemm", [x, w, *d.bias(x, w, outputs)], {"transB": transposed})


def _matmul(d: Drawing, x: Value) -> Node | None:
    if len(x.shape) < 2:
        return None
    if d.chance(25):
        return Node("MatMul", [x, d.pick(d.values)])
    return Node("MatMul", [x, d.weights([x.shape[-1], d.integer(1, 12)], 1)])


def _arithmetic(d: Drawing, x: Value) -> Node | None:
    kind = d.pick(["Add", "Add", "Sub", "Mul", "Mul", "Div"])
    if kind == "Div":
        return Node(kind, [x, np.float32(d.pick([2.0, 0.7, 255.0, -3.0]))])
    how = d.integer(0, 5)
    other: Any = d.pick(d.values)
    if how == 1:
        channel = [x.shape[1], *[1] * (len(x.shape) - 2)]
        other = d.constant(d.pick([[1], channel, list(x.shape)]))
    elif how == 2:
        other = np.float32(d.pick([0.5, 3.0, -1.25]))
    pair = [x, other]
    return Node(kind, pair if d.chance(70) else pair[::-1])


def _pool(d: Drawing, x: Value) -> Node | None:
    if len(x.shape) < 3:
        return None
    kind = d.pick(["MaxPool", "AveragePool", "GlobalAveragePool"])
    if kind == "GlobalAveragePool":
        return Node(kind, [x])
    kernel = [d.integer(1, min(6, max(2, size))) for size in x.shape[2:]]
    attributes = {"kernel_shape": kernel, **_window(d, x, kernel, False)}
    attributes["ceil_mode"] = int(d.chance(10))
    if kind == "AveragePool":
        attributes["count_include_pad"] = d.integer(0, 1)
    return Node(kind, [x], attributes)


def _reduce(d: Drawing, x: Value) -> Node | None:
    kind, keep = d.pick(["ReduceMean", "ReduceMean", "ReduceMax"]), d.integer(0, 1)
    rank = len(x.shape)
    axes = d.pick(
        [[a for a in (2, 3) if a < rank] or [1], [rank - 1], [-2], [1], [1, 2][: rank - 1]]
    )
    if d.opset < 18:
        return Node(kind, [x], {"axes": axes, "keepdims": keep})
    return Node(kind, [x, np.array(axes, np.int64)], {"keepdims": keep})


def _concat(d: Drawing, x: Value) -> Node | None:
    axis = d.integer(0, len(x.shape) - 1) if d.chance(30) else 1
    fitting = [
        v
        for v in d.values
        if len(v.shape) == len(x.shape)
        and all(a == b for k, (a, b) in enumerate(zip(v.shape, x.shape, strict=True)) if k != axis)
    ]
    parts = [x, *(d.pick(fitting) for _ in range(d.integer(1, 2)))]
    return Node("Concat", parts, {"axis": axis})


def _split(d: Drawing, x: Value) -> Node | None:
    axis = 1 if d.chance(70) else len(x.shape) - 1
    if x.shape[axis] < 2:
        return None
    cut = d.integer(1, x.shape[axis] - 1)
    sizes = np.array([cut, x.shape[axis] - cut], np.int64)
    return Node("Split", [x, sizes], {"axis": axis}, 2)


def _slice(d: Drawing, x: Value) -> Node | None:
    axes = [a for a in range(len(x.shape)) if a and d.chance(50)] or [1]
    starts = [d.integer(-x.shape[a], x.shape[a] - 1) for a in axes]
    ends = [d.pick([x.shape[a], 2**31, -1, d.integer(1, x.shape[a])]) for a in axes]
    steps = [d.pick([1, 1, 1, 2, 3, -1]) for _ in axes]
    return Node("Slice", [x, *(np.array(v, np.int64) for v in (starts, ends, axes, steps))])


def _pad(d: Drawing, x: Value) -> Node | None:
    rank = len(x.shape)
    mode = d.pick(["constant", "constant", "constant", "reflect", "edge"])
    pads = [0, 0 if d.chance(80) else 1, *(d.integer(0, 3) for _ in range(rank - 2))]
    pads += [0, 0, *(d.integer(0, 3) for _ in range(rank - 2))]
    operands: list[Any] = [x, np.array(pads, np.int64)]
    if mode == "constant" and d.chance(40):
        operands.append(np.float32(d.pick([0.0, 0.4, -1.0, 1e9])))
    return Node("Pad", operands, {"mode": mode})


def _resize(d: Drawing, x: Value) -> Node | None:
    if len(x.shape) != 4:
        return None
    how = d.pick(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
    attributes = {"mode": d.pick(["nearest", "linear"]), "coordinate_transformation_mode": how}
    if attributes["mode"] == "nearest":
        attributes["nearest_mode"] = d.pick(["floor", "round_prefer_floor", "round_prefer_ceil"])
    if d.chance(70):
        scale = d.pick([2.0, 2.0, 2.0, 4.0, 3.0, 0.5, 1.5])
        scales = np.array([1, 1, scale, scale if d.chance(85) else 1.0], np.float32)
        return Node("Resize", [x, None, scales], attributes)
    sizes = [*x.shape[:2], *(d.integer(1, 20) for _ in range(2))]
    if d.chance(50):
        sizes[2:] = [2 * size - 1 for size in x.shape[2:]]
    return Node("Resize", [x, None, None, np.array(sizes, np.int64)], attributes)


def _view(d: Drawing, x: Value) -> Node | None:
    kind = d.pick("Reshape Flatten Squeeze Unsqueeze Transpose Expand Identity".split())
    rank, total = len(x.shape), math.prod(x.shape)
    if kind == "Flatten":
        return Node(kind, [x], {"axis": d.pick([1, 1, min(2, rank)])})
    if kind == "Squeeze":
        ones = [a for a, size in enumerate(x.shape) if size == 1 and a]
        return Node(kind, [x, np.array([d.pick(ones)], np.int64)]) if ones and rank > 2 else None
    if kind == "Unsqueeze":
        return Node(kind, [x, np.array([d.integer(0, rank)], np.int64)]) if rank < 4 else None
    if kind == "Transpose":
        order = [0, *(int(a) for a in d.random.permutation(range(1, rank)))]
        return Node(kind, [x], {"perm": order})
    if kind == "Expand":
        shape = [d.pick([1, 2, 3]) if size == 1 and a else size for a, size in enumerate(x.shape)]
        return Node(kind, [x, np.array(shape, np.int64)])
    if kind == "Identity":
        return Node(kind, [x])
    shapes = [[x.shape[0], -1], [0, -1, x.shape[-1]], [1, x.shape[1], -1]]
    shapes += [[1, n, total // n] for n in range(2, 9) if total % n == 0]
    shapes += [[1, n, -1, m] for n in (1, 2, 3, 4) for m in (1, 2, 5) if total % (n * m) == 0]
    return Node(kind, [x, np.array(d.pick(shapes), np.int64)])


def _activation(d: Drawing, x: Value) -> Node | None:
    kind = d.pick(
        "Relu Clip LeakyRelu PRelu Sigmoid Tanh HardSwish Softmax Exp Requantise Sin".split()
    )
    if kind == "Clip":
        ends = d.pick([(0.0, 6.0), (-1.0, 1.0), (-0.2, 0.6)])
        return Node(kind, [x, *(np.float32(end) for end in ends)])
    if kind == "LeakyRelu":
        return Node(kind, [x], {"alpha": d.pick([0.1, 0.01, 0.3, 1.3])})
    if kind == "PRelu":
        channel = [x.shape[1], *[1] * (len(x.shape) - 2)]
        shape = d.pick([channel, channel, [1]])
        if d.chance(30):
            return Node(kind, [x, d.random.uniform(-0.2, 1, shape).astype(np.float32)])
        return Node(kind, [x, d.constant(shape)])
    if kind == "Softmax":
        return Node(kind, [x], {"axis": d.pick([-1, -1, 1])})
    return Node(kind, [x])


OPERATORS: tuple[Callable[[Drawing, Value], Node | None], ...] = (
    *(_conv,) * 4,
    _conv_transpose,
    *(_gemm,) * 4,
    _matmul,
    *(_arithmetic,) * 3,
    *(_pool,) * 2,
    _reduce,
    *(_concat,) * 2,
    _split,
    _slice,
    _pad,
    _resize,
    *(_view,) * 3,
    *(_activation,) * 4,
)
