import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgeweave.targets.handoff.float_borders import (
    count_zero_points,
    has_quantised_borders,
    with_float_borders,
)


@pytest.mark.parametrize("point", [0, -3, 127])
def test_it_computes_the_same_between_floats(make_model, run, frame, point):
    model = make_model(point)
    floats = with_float_borders(model)
    onnx.checker.check_model(floats, full_check=True)
    assert [i.type.tensor_type.elem_type for i in (*floats.graph.input, *floats.graph.output)] == [
        TensorProto.FLOAT
    ] * 2
    real = np.float32(0.05) * (frame.astype(np.float32) - point)
    (result,) = run(floats, {"x": real})
    (wanted,) = run(model, {"x": frame})
    assert np.array_equal(np.rint(result / np.float32(0.25)) + point, wanted)
    assert len(np.unique(wanted)) > 20


def test_names_at_the_border_stay_and_the_model_itself_does_too(make_model):
    model = make_model()
    before = model.SerializeToString()
    floats = with_float_borders(model)
    assert [info.name for info in (*floats.graph.input, *floats.graph.output)] == ["x", "sum"]
    assert model.SerializeToString() == before
    assert has_quantised_borders(model)
    assert not has_quantised_borders(floats)


def test_a_border_without_a_scale_stays_an_integer(make_model):
    model = make_model()
    spare = onnx.ValueInfoProto.FromString(model.graph.input[0].SerializeToString())
    spare.name = "spare"
    model.graph.input.append(spare)
    kinds = [i.type.tensor_type.elem_type for i in with_float_borders(model).graph.input]
    assert kinds == [TensorProto.FLOAT, TensorProto.INT8]


@pytest.mark.parametrize(("point", "count"), [(0, 0), (-3, 3)])
def test_zero_points_are_counted_by_tensor(make_model, point, count):
    assert count_zero_points(make_model(point)) == count
