"""Every reader of a dequantised value dequantises it itself."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnxruntime
from onnx import numpy_helper

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.regions import find_regions

SHARED = """<ir_version: 10, opset_import: ["": 17]>
g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    a = Relu(d)
    aq = QuantizeLinear(a, s, z)
    ad = DequantizeLinear(aq, s, z)
    b = Add(d, ad)
    bq = QuantizeLinear(b, s, z)
    y = DequantizeLinear(bq, s, z)
}"""


def model() -> onnx.ModelProto:
    proto = onnx.parser.parse_model(SHARED)
    for name, value in (("s", np.float32(0.05)), ("z", np.int8(3))):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    return proto


def test_a_shared_value_is_dequantised_once_per_reader() -> None:
    loaded = load_model(model())
    nodes = loaded.proto.graph.node
    assert sum(node.op_type == "DequantizeLinear" for node in nodes) == 4
    assert [r.count for r in loaded.rewrites if r.name == "dequantize"] == [1]
    x = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
        for proto in (loaded.original, loaded.proto)
    )
    assert np.array_equal(before, after)


def test_it_can_be_left_out() -> None:
    loaded = load_model(model(), skip=("dequantize",))
    assert sum(n.op_type == "DequantizeLinear" for n in loaded.proto.graph.node) == 3


def test_what_passes_between_regions_is_then_int8() -> None:
    regions = find_regions(load_model(model())).graph
    assert [region.name for region in regions.regions] == [
        "r000 QuantizeLinear",
        "r001 Relu",
        "r002 Add",
        "r003 DequantizeLinear",
    ]
    inner = [value for value in regions.values if value.producer is not None and value.consumers]
    assert [value.nbytes for value in inner] == [256, 256, 256]
    assert [region.precision for region in regions.regions] == ["int8", "int8", "int8", "float32"]
