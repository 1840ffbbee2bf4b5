from __future__ import annotations

import numpy as np
import onnx

from edgeweave.compiler.frontend import load_model

TEXT = """<ir_version: 9, opset_import: ["" : 17, "own" : 1]>
g (float[2] x) => (float[2] y) { a = own.twice(x) y = own.twice(a) }
<domain: "own", opset_import: ["" : 17]>
twice (v) => (w) { t = Constant <value_float = 2.0> () w = Mul(v, t) }
"""


def test_calls_of_a_model_local_function_become_its_body(counts, operators, run):
    proto = onnx.parser.parse_model(TEXT)
    model = load_model(proto)
    assert operators(model) == ["Mul", "Mul"]
    assert counts(model)["functions"] == 2
    assert not model.proto.functions
    np.testing.assert_array_equal(run(model.proto)[0], run(proto)[0])


def test_skipping_the_rewrite_keeps_the_function():
    model = load_model(onnx.parser.parse_model(TEXT), skip=["functions"])
    assert [f.name for f in model.proto.functions] == ["twice"]
