from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeweave.compiler.types import value_spec
from edgeweave.runtime.spec import ValueSpec

INPUTS = [
    ("float[2,N] x", "tensor(float)", (2, None)),
    ("bfloat16[2] x", "tensor(bfloat16)", (2,)),
    ("uint8[2] x", "tensor(uint8)", (2,)),
    ("float8e4m3fn[2] x", "tensor(float8e4m3fn)", (2,)),
    ("string x", "tensor(string)", ()),
    ("seq(int64[2]) x", "seq(tensor(int64))", None),
    ("optional(float[2]) x", "optional(tensor(float))", None),
    ("optional(seq(float)) x", "optional(seq(tensor(float)))", None),
]


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> '
        f"g ({text}) => ({text.rsplit(' ', 1)[0]} y) {{ y = Identity(x) }}"
    )


@pytest.mark.parametrize(("text", "kind", "shape"), INPUTS)
def test_a_type_is_written_as_onnx_runtime_writes_it(text, kind, shape):
    proto = parsed(text)
    assert value_spec(proto.graph.input[0]) == ValueSpec("x", kind, shape)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == kind


def test_a_map_and_a_sparse_tensor_are_written_with_their_parts():
    info = onnx.ValueInfoProto(name="m")
    info.type.map_type.key_type = onnx.TensorProto.INT64
    info.type.map_type.value_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    assert value_spec(info) == ValueSpec("m", "map(int64,tensor(float))", None)
    sparse = onnx.helper.make_sparse_tensor_value_info("s", onnx.TensorProto.FLOAT, [2])
    assert value_spec(sparse).type == "sparse_tensor(float)"


def test_a_tensor_without_a_rank_and_a_value_without_a_type_have_no_shape():
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)
    assert value_spec(info) == ValueSpec("x", "tensor(float)", None)
    assert value_spec(onnx.ValueInfoProto(name="x")) == ValueSpec("x", "", None)


def test_every_element_type_that_onnx_runtime_knows_has_a_numpy_name():
    unknown_to_onnx_runtime = ("UNDEFINED", "FLOAT6E2M3", "FLOAT6E3M2")
    for name, number in onnx.TensorProto.DataType.items():
        if name not in unknown_to_onnx_runtime:
            info = onnx.helper.make_tensor_value_info("x", number, [1])
            dtype = value_spec(info).dtype
            assert dtype is not None, name
            if dtype != "object":
                expected = onnx.helper.tensor_dtype_to_np_dtype(number)
                assert np.dtype(expected).name == dtype
