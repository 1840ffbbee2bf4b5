import numpy as np
import onnx
import pytest

from edgeweave.targets.handoff.float_model import strip_quantisation


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("point", [0, -3])
def test_it_computes_what_the_stage_rounds(make_model, run, frame, point):
    model = make_model(point)
    stripped = strip_quantisation(model).model
    onnx.checker.check_model(stripped, full_check=True)
    assert kinds(stripped) == ["Conv", "Add"]
    real = np.float32(0.05) * (frame.astype(np.float32) - point)
    (result,) = run(stripped, {"x": real})
    (wanted,) = run(model, {"x": frame})
    levels = np.clip(np.rint(result / 0.25) + point, -128, 127)
    inside = np.abs(wanted.astype(int) - point) < 60  # where the convolution cannot have saturated
    assert np.count_nonzero(inside) > 20
    assert np.abs(levels - wanted)[inside].max() <= 1


def test_scales_of_symmetric_tensors_are_their_own(make_model):
    found = strip_quantisation(make_model(0))
    assert found.scales == pytest.approx({"x": 0.05, "y_real": 0.2, "sum": 0.25})
    assert (found.shifted, found.conflicts) == (0, 0)


def test_a_zero_point_widens_the_range_and_is_counted(make_model):
    found = strip_quantisation(make_model(-28))
    # from -100 to 155 steps: 155 must be the 127th of the wider ones
    assert found.scales["x"] == pytest.approx(0.05 * 155 / 127)
    assert found.shifted == 3


def test_a_value_that_is_quantised_twice_gets_the_larger_range(make_qdq):
    build = make_qdq()
    x = build.dequantised("x", 0.05, np.int8(0))
    build.layer("Relu", [x], "small", 0.02, 0)
    pair = [build.constant(np.float32(0.5)), build.constant(np.int8(0))]
    build.nodes.append(onnx.helper.make_node("QuantizeLinear", ["small_real", *pair], ["large"]))
    found = strip_quantisation(build.model(["small", "large"]))
    assert found.conflicts == 1
    assert max(found.scales.values()) == pytest.approx(0.5)
    onnx.checker.check_model(found.model, full_check=True)
    assert {info.name for info in found.model.graph.output} == {"small", "large"}
    assert sorted(kinds(found.model)) == ["Identity", "Relu"]


def test_a_stage_that_only_converts_becomes_an_identity(make_qdq, run, frame):
    build = make_qdq()
    x = build.dequantised("x", 0.05, np.int8(0))
    pair = [build.constant(np.float32(0.1)), build.constant(np.int8(0))]
    build.nodes.append(onnx.helper.make_node("QuantizeLinear", [x, *pair], ["y"]))
    found = strip_quantisation(build.model(["y"])).model
    onnx.checker.check_model(found, full_check=True)
    (result,) = run(found, {"x": frame.astype(np.float32)})
    assert np.array_equal(result, frame)


def test_a_float_stage_has_no_scales(make_model):
    stripped = strip_quantisation(make_model()).model
    again = strip_quantisation(stripped)
    assert again.scales == {}
    assert kinds(again.model) == ["Conv", "Add"]
