"""What the outputs of quantised and of other models allow."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeweave.compiler.tolerances import Tolerances, output_scales
from edgeweave.runtime.compare import compare


def parsed(body: str, outputs: str) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 17]> g (int8[4] x) => ({outputs}) {{ {body} }}'
    )
    for name, value in (("s", np.float32(0.5)), ("t", np.float32(0.25)), ("z", np.int8(0))):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    return proto


@pytest.mark.parametrize(
    ("regions", "off", "passed"), [(1, 1, True), (1, 2, False), (3, 2, True), (3, 3, False)]
)
def test_a_quantised_value_may_be_a_step_off_and_two_behind_several_layers(
    regions: int, off: int, passed: bool
) -> None:
    model = parsed(
        "d = DequantizeLinear(x, s, z) r = Relu(d) y = QuantizeLinear(r, t, z)", "int8[4] y"
    )
    wanted = np.array([1, 2, 3, 4], np.int8)
    allowed = Tolerances.of(model, regions).of_output("y", wanted)
    assert compare("y", wanted + np.int8(off), wanted, allowed).passed is passed


def test_plain_integers_must_be_equal() -> None:
    model = parsed("y = Identity(x)", "int8[4] y")
    wanted = np.array([1, 2, 3, 4], np.int8)
    allowed = Tolerances.of(model, 1).of_output("y", wanted)
    assert not compare("y", wanted + np.int8(1), wanted, allowed).passed


def test_a_dequantised_output_is_judged_by_its_scale() -> None:
    model = parsed(
        "d = DequantizeLinear(x, s, z) r = Relu(d) q = QuantizeLinear(r, t, z) "
        "e = DequantizeLinear(q, t, z) y = Identity(e)",
        "float[4] y",
    )
    assert output_scales(model) == {"y": 0.25}
    wanted = np.array([0, 0.25, 1, 25], np.float32)
    allowed = Tolerances.of(model, 2).of_output("y", wanted)
    assert compare("y", wanted + np.float32(0.5), wanted, allowed).passed
    assert not compare("y", wanted + np.float32(0.75), wanted, allowed).passed


def test_an_output_without_quantisation_has_no_step_and_no_room_for_one() -> None:
    model = parsed("d = DequantizeLinear(x, s, z) y = Relu(d)", "float[4] y")
    wanted = np.array([0, 0.25, 1, 25], np.float32)
    allowed = Tolerances.of(model, 1).of_output("y", wanted)
    assert not compare("y", wanted + np.float32(0.1), wanted, allowed).passed
