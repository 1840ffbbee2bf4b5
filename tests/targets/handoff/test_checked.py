import numpy as np
import onnx
import pytest
from onnx import helper

from edgeweave.targets.errors import BuildError
from edgeweave.targets.handoff import checked
from edgeweave.targets.handoff.checked import checked_model
from edgeweave.targets.handoff.tools import TOOLS


@pytest.fixture(params=sorted(TOOLS))
def tool(request):
    return TOOLS[request.param]


def test_a_model_in_newer_versions_is_lowered_for_the_tool_and_computes_the_same(
    tool, make_model, make_stage, run, frame
):
    model = make_model(opset=21)
    lowered = checked_model(make_stage(model), tool)
    assert lowered.opset_import[0].version == min(21, tool.opset)
    assert lowered.ir_version <= tool.ir_version
    assert np.array_equal(*(run(m, {"x": frame})[0] for m in (model, lowered)))


def test_an_older_model_keeps_its_opset(tool, make_model, make_stage):
    assert checked_model(make_stage(make_model(opset=15)), tool).opset_import[0].version == 15


def test_every_value_has_its_shape(tool, make_model, make_stage):
    model = checked_model(make_stage(make_model()), tool)
    known = {info.name for info in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= known


def test_an_unused_domain_is_dropped(tool, make_model, make_stage):
    model = make_model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert len(checked_model(make_stage(model), tool).opset_import) == 1


def other_domain(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[0].domain = "com.microsoft"


def open_shape(model):
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.shape.dim[2].dim_param = "h"


def wrong_attribute(model):
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.attribute.append(helper.make_attribute("nonsense", 1))


def missing_operator(model):
    model.graph.node[1].op_type = "Nonsense"


def wrong_type(model):
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8


FAULTS = {
    other_domain: "knows no operators of the domain 'com.microsoft'",
    open_shape: "the shape of 'x' is open, and .* needs every shape",
    wrong_attribute: "its model is not valid ONNX: ",
    missing_operator: "its model is not valid ONNX: ",
    wrong_type: "its model is not valid ONNX: ",
}


@pytest.mark.parametrize(("spoil", "message"), FAULTS.items())
def test_a_stage_that_no_tool_could_take_is_named(tool, make_model, make_stage, spoil, message):
    model = make_model()
    spoil(model)
    with pytest.raises(BuildError, match=f"s0: .*{message}"):
        checked_model(make_stage(model), tool)


def test_a_model_that_cannot_be_lowered_is_named(make_model, make_stage):
    # BitwiseAnd came with opset 18
    model = make_model(opset=18)
    model.graph.node.append(helper.make_node("BitwiseAnd", ["sum", "sum"], ["more"]))
    with pytest.raises(BuildError, match="up to opset 17, and its model in opset 18 cannot be"):
        checked_model(make_stage(model), TOOLS["dla"])


def test_a_model_that_onnx_runtime_does_not_open_is_named(tool, make_model, make_stage):
    # valid ONNX, but ONNX Runtime has no Elu of doubles
    model = make_model()
    shape = [1, 8, 6, 6]
    model.graph.node.append(helper.make_node("Cast", ["sum"], ["wide"], to=onnx.TensorProto.DOUBLE))
    model.graph.node.append(helper.make_node("Elu", ["wide"], ["result"]))
    info = helper.make_tensor_value_info("result", onnx.TensorProto.DOUBLE, shape)
    model.graph.output.append(info)
    with pytest.raises(BuildError, match="s0: ONNX Runtime cannot open its model: "):
        checked_model(make_stage(model), tool)


def test_a_model_that_protobuf_cannot_write_is_refused(make_model, make_stage, monkeypatch):
    monkeypatch.setattr(checked, "PROTOBUF_LIMIT", 10)
    with pytest.raises(BuildError, match="s0: its model has"):
        checked_model(make_stage(make_model()), TOOLS["qnn"])
