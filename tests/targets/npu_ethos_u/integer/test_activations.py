"""Operators of one value equal LiteRT's reference kernels on all 256 integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate

_ALL = (1, 2, 128, 1)


def _all_integers(draft: Any, dtype: str = "int8", around: float = 0.05) -> int:
    x = draft.input(_ALL, draft.quantisation(dtype, around), dtype)
    draft.values[-1] = np.arange(256).astype(np.uint8).view(dtype).reshape(_ALL)
    return x


@pytest.mark.parametrize("dtypes", ["int8 int8", "uint8 int8", "int8 uint8", "uint8 uint8"])
def test_quantize(compare: Any, dtypes: str) -> None:
    before, after = dtypes.split()

    def build(draft: Any) -> None:
        x = _all_integers(draft, before)
        y = draft.output(_ALL, dtype=after)
        draft.add("QUANTIZE", [x], [y], "QuantizeOptions")

    compare(build, 20)


def test_quantize_to_the_same_scale(compare: Any) -> None:
    def build(draft: Any) -> None:
        x = draft.input(_ALL, (0.5, 128 - draft.integer(0, 1)), "uint8")
        draft.add("QUANTIZE", [x], [draft.output(_ALL, (0.5, 0))], "QuantizeOptions")

    compare(build, 4)


@pytest.mark.parametrize("code", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_relus(compare: Any, code: str) -> None:
    def build(draft: Any) -> None:
        version = 1 if code == "RELU_N1_TO_1" else 2
        draft.add(code, [_all_integers(draft)], [draft.output(_ALL)], version=version)

    compare(build, 20)


def test_leaky_relu(compare: Any) -> None:
    def build(draft: Any) -> None:
        alpha = float(draft.random.uniform(0, 1.5))
        x = _all_integers(draft)
        draft.add("LEAKY_RELU", [x], [draft.output(_ALL)], "LeakyReluOptions", alpha=alpha)

    compare(build, 20)


def test_prelu(compare: Any) -> None:
    def build(draft: Any) -> None:
        shape = (1, 3, 5, 6)
        x = draft.input(shape)
        data = draft.random.integers(-128, 128, (1, 1, 6)).astype(np.int8)
        slopes = draft.writer.constant("a", data, [draft.scale(0.01)], draft.zero_point())
        draft.add("PRELU", [x, slopes], [draft.output(shape)], version=1)

    compare(build, 20)


def test_logistic(compare: Any) -> None:
    def build(draft: Any) -> None:
        x = _all_integers(draft, around=0.2)
        draft.add("LOGISTIC", [x], [draft.output(_ALL, (1 / 256, -128))])

    compare(build, 40)


def test_tanh(compare: Any) -> None:
    def build(draft: Any) -> None:
        x = _all_integers(draft, around=0.1)
        quantisation = (1 / 128, 0) if draft.integer(0, 1) else draft.quantisation(around=1 / 128)
        draft.add("TANH", [x], [draft.output(_ALL, quantisation)])

    compare(build, 40)


def test_exp(compare: Any) -> None:
    def build(draft: Any) -> None:
        x = draft.input(_ALL, (draft.scale(0.02), 127))
        draft.add("EXP", [x], [draft.output(_ALL, (1 / 256, -128))], "ExpOptions", 1)

    compare(build)


def test_hard_swish(compare: Any) -> None:
    def build(draft: Any) -> None:
        around = 10 ** draft.random.uniform(-3, 0)
        scale, zero_point = draft.quantisation(around=around)
        x = _all_integers(draft, around=0)
        draft.writer._graph.tensors[x].quantization.scale[0] = scale
        y = draft.output(_ALL, (max(scale / 100, draft.scale(around)), zero_point))
        draft.add("HARD_SWISH", [x], [y], "HardSwishOptions", 1)

    compare(build, 40)


def test_hard_swish_to_a_tiny_scale_is_refused(draft: Any) -> None:
    x, y = draft.input(_ALL, (1.0, 0)), draft.output(_ALL, (1e-4, 0))
    draft.add("HARD_SWISH", [x], [y], "HardSwishOptions", 1)
    with pytest.raises(TargetError, match="too small for 16-bit"):
        evaluate(draft.finish(), draft.values)


def test_softmax(compare: Any) -> None:
    def build(draft: Any) -> None:
        around = 10 ** draft.random.uniform(-3, 0)
        shape = (
            (1, 5, 7, draft.integer(1, 60)) if draft.integer(0, 1) else (3, draft.integer(1, 200))
        )
        x = draft.input(shape, draft.quantisation(around=around))
        beta = 1.0 if draft.integer(0, 2) else float(draft.random.uniform(0.1, 2))
        y = draft.output(shape, (1 / 256, -128))
        draft.add("SOFTMAX", [x], [y], "SoftmaxOptions", beta=beta)

    compare(build, 30)
