"""Models of several operators, and what is no model or does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate


def _add(draft: Any) -> bytes:
    x, z = draft.input((1, 2)), draft.input((1, 2))
    draft.add("ADD", [x, z], [draft.output((1, 2))], "AddOptions")
    return draft.finish()


def test_a_value_with_several_readers_that_is_an_output_too(compare: Any) -> None:
    def build(draft: Any) -> None:
        x = draft.input((1, 3, 3, 2))
        first, second, third = (draft.output((1, 3, 3, 2)) for _ in range(3))
        draft.add("QUANTIZE", [x], [first], "QuantizeOptions")
        draft.add("ADD", [x, first], [second], "AddOptions")
        draft.add("MUL", [second, first], [third], "MulOptions")

    compare(build)


def test_an_unknown_operator_is_named(draft: Any) -> None:
    x, y = draft.input((2, 2)), draft.output((2, 2))
    draft.add("CEIL", [x], [y])
    with pytest.raises(TargetError, match=r"operator CEIL \(writes y0\): it has no definition"):
        evaluate(draft.finish(), draft.values)


def test_bytes_that_are_no_model() -> None:
    with pytest.raises(TargetError, match="do not begin as a TFLite file"):
        evaluate(b"PK\x03\x04 something else", [])


def test_too_few_inputs(draft: Any) -> None:
    with pytest.raises(TargetError, match="it has 2 inputs and was given 1"):
        evaluate(_add(draft), draft.values[:1])


def test_an_input_of_another_shape(draft: Any) -> None:
    with pytest.raises(TargetError, match=r"input x1: it is int8\[3\] where int8\[1, 2\]"):
        evaluate(_add(draft), [draft.values[0], np.zeros(3, np.int8)])


def test_an_output_that_is_declared_wrongly(draft: Any) -> None:
    x, z = draft.input((1, 2)), draft.input((1, 2))
    draft.add("ADD", [x, z], [draft.output((1, 3))], "AddOptions")
    with pytest.raises(TargetError, match=r"it makes int8\[1, 2\] where int8\[1, 3\]"):
        evaluate(draft.finish(), draft.values)


def test_a_missing_input(draft: Any) -> None:
    draft.add("ADD", [draft.input((1, 2)), -1], [draft.output((1, 2))], "AddOptions")
    with pytest.raises(TargetError, match="input 1 is missing"):
        evaluate(draft.finish(), draft.values)


def test_a_tensor_without_a_scale(draft: Any) -> None:
    x = draft.input((1, 2))
    y = draft.writer.tensor("y", (1, 2), "int8")
    draft.outputs.append(y)
    draft.add("ADD", [x, x], [y], "AddOptions")
    with pytest.raises(TargetError, match="tensor y: it has 0 scales"):
        evaluate(draft.finish(), draft.values)


def test_a_tensor_of_an_unknown_type(draft: Any) -> None:
    draft.writer.tensor("c", (1,), "complex64")
    with pytest.raises(TargetError, match="tensor c: its type complex64 is not known"):
        evaluate(_add(draft), draft.values)


def test_an_unknown_fused_activation(draft: Any) -> None:
    x = draft.input((1, 2))
    draft.add("ADD", [x, x], [draft.output((1, 2))], "AddOptions", fusedActivationFunction=4)
    with pytest.raises(TargetError, match="fused activation 4 is not known"):
        evaluate(draft.finish(), draft.values)
