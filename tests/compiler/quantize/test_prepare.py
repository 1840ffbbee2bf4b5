"""Rewrites of the float model compute the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.prepare import prepare

Weighted = Callable[..., onnx.ModelProto]
Run = Callable[[onnx.ModelProto, Mapping[str, Any]], list[Any]]
NORMALISED = """
g (float[1,4,5,5] x, float[1,4,5,5] y) => (float[1,4,5,5] z)
{ s = SUM z = BatchNormalization(s, scale, shift, mean, variance) }
"""
NUMBERS = dict.fromkeys(("scale", "shift", "mean", "variance"), (4,))


def kinds(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def same(run: Run, first: onnx.ModelProto, second: onnx.ModelProto, *shapes: list[int]) -> bool:
    generator = np.random.default_rng(3)
    names = [info.name for info in first.graph.input]
    frame = {
        name: generator.standard_normal(shape).astype(np.float32)
        for name, shape in zip(names, shapes, strict=True)
    }
    results = zip(run(first, frame), run(second, frame), strict=True)
    return all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in results)


@pytest.mark.parametrize(
    ("before", "convolutions", "adds"),
    [("Add(x, y)", 2, 1), ("Mul(x, y)", 1, 0)],
    ids=["of a sum", "of anything else"],
)
def test_batch_normalisation_becomes_depthwise_convolutions(
    weighted: Weighted,
    canonical_proto: Callable[[onnx.ModelProto], Model],
    run: Run,
    before: str,
    convolutions: int,
    adds: int,
) -> None:
    variance = np.linspace(0.5, 2, 4)
    proto = weighted(NORMALISED.replace("SUM", before), NUMBERS, variance=variance)
    proto = canonical_proto(proto).proto
    prepared = prepare(proto)
    onnx.checker.check_model(prepared, full_check=True)
    assert kinds(prepared)["Conv"] == convolutions
    assert kinds(prepared)["Add"] == adds
    assert "BatchNormalization" not in kinds(prepared)
    assert same(run, proto, prepared, [1, 4, 5, 5], [1, 4, 5, 5])


def test_a_sum_that_others_read_is_normalised_whole(
    weighted: Weighted, canonical_proto: Callable[[onnx.ModelProto], Model], run: Run
) -> None:
    text = NORMALISED.replace("SUM", "Add(x, y)").replace(
        "(float[1,4,5,5] z)", "(float[1,4,5,5] z, float[1,4,5,5] s)"
    )
    proto = canonical_proto(weighted(text, NUMBERS, variance=np.ones(4))).proto
    prepared = prepare(proto)
    assert kinds(prepared) == {"Add": 1, "Conv": 1}
    assert same(run, proto, prepared, [1, 4, 5, 5], [1, 4, 5, 5])


STABLE = """
g (float[2,3,8] x) => (float[2,3,8] y)
{{
    axes = Constant<value = int64[1] {{{axis}}}> ()
    shape = Constant<value = int64[3] {{2, 3, 8}}> ()
    m = ReduceMax(x, axes)
    e = Expand(m, shape)
    d = Sub({operands})
    y = Softmax(d)
}}
"""


@pytest.mark.parametrize(
    ("operands", "axis", "left"),
    [
        ("x, m", -1, {"Softmax": 1}),
        ("x, e", 2, {"Softmax": 1}),
        ("e, x", -1, {"Mul": 1, "Softmax": 1}),
        ("m, x", -1, {"Mul": 1, "Softmax": 1}),
        ("x, m", 1, {"ReduceMax": 1, "Sub": 1, "Softmax": 1}),
    ],
)
def test_a_maximum_in_front_of_a_softmax_is_dropped(
    canonical_proto: Callable[[onnx.ModelProto], Model],
    run: Run,
    operands: str,
    axis: int,
    left: dict[str, int],
) -> None:
    text = '<ir_version: 10, opset_import: ["": 18]>\n' + STABLE.format(
        operands=operands, axis=axis
    )
    from edgeweave.compiler.frontend import load_model

    proto = load_model(onnx.parser.parse_model(text)).proto
    prepared = prepare(proto)
    assert kinds(prepared) == left
    assert same(run, proto, prepared, [2, 3, 8])
