import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeweave.targets.npu_ethos_u.emit.flatbuffer import IDENTIFIER, FlatbufferWriter


def read(blob):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(blob))


def test_what_was_written_is_read_back():
    writer = FlatbufferWriter()
    x = writer.tensor("x", (1, 4), "int8", [0.5], -3)
    axes = writer.constant("axes", np.array([1], np.int32))
    y = writer.tensor("y", (1, 1), "int8", [0.25], 7)
    writer.operator("MEAN", [x, axes], [y], 2, "ReducerOptions", {"keepDims": True})
    blob = writer.finish([x], [y])
    assert blob[4:8] == IDENTIFIER
    model = read(blob)
    (graph,) = model.subgraphs
    assert (list(graph.inputs), list(graph.outputs)) == ([x], [y])
    assert graph.tensors[x].quantization.scale == [0.5]
    assert graph.tensors[y].quantization.zeroPoint == [7]
    assert graph.tensors[axes].quantization is None
    data = model.buffers[graph.tensors[axes].buffer].data
    assert np.frombuffer(bytes(data), np.int32).tolist() == [1]
    assert model.buffers[0].data is None  # the schema's empty buffer
    assert graph.operators[0].builtinOptions.keepDims


def test_per_channel_scales_have_one_zero_point_each():
    writer = FlatbufferWriter()
    w = writer.constant("w", np.ones((1, 1, 1, 3), np.int8), [0.1, 0.2, 0.3], 0, 3)
    quantised = read(writer.finish([w], [w])).subgraphs[0].tensors[w].quantization
    assert (list(quantised.zeroPoint), quantised.quantizedDimension) == ([0, 0, 0], 3)


def test_a_code_is_listed_once_per_version():
    writer = FlatbufferWriter()
    x, y = (writer.tensor(name, (1,), "int8", [0.5]) for name in "xy")
    for version in (1, 2, 2):
        writer.operator("EXP", [x], [y], version)
    assert [code.version for code in read(writer.finish([x], [y])).operatorCodes] == [1, 2]


def test_codes_above_127_keep_the_old_field_in_its_range():
    writer = FlatbufferWriter()
    x = writer.tensor("x", (1,), "int8", [0.5])
    writer.operator("GELU", [x], [x])
    code = read(writer.finish([x], [x])).operatorCodes[0]
    assert (code.deprecatedBuiltinCode, code.builtinCode) == (127, schema.BuiltinOperator.GELU)


def test_a_field_that_the_options_have_not_is_a_mistake():
    writer = FlatbufferWriter()
    x = writer.tensor("x", (1,), "int8", [0.5])
    with pytest.raises(AssertionError, match="keepdims"):
        writer.operator("MEAN", [x], [x], 2, "ReducerOptions", {"keepdims": True})
