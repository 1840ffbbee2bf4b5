from __future__ import annotations

import pytest

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend import load_model


def refused(source) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(source)
    assert "\n" not in str(caught.value)
    assert "onnxruntime_src" not in str(caught.value)
    return caught.value


def test_an_unknown_operator_is_named_with_domain_node_and_operator_set(build):
    error = refused(build("g (float[2] x) => (float[2] y) { [conv_7] y = Frob(x) }"))
    for part in ("operator Frob", "domain ai.onnx", "'conv_7'", "operator set 17"):
        assert part in error.reason


def test_an_operator_of_another_version_says_so(build):
    error = refused(build("g (float[2] x) => (float[2] y) { y = Gelu(x) }"))
    assert "operator Gelu" in error.reason
    assert "other versions have this operator" in error.next_step


def test_an_operator_of_a_domain_not_imported_is_named(build):
    error = refused(build("g (float[2] x) => (float[2] y) { y = my.own.Relu(x) }"))
    assert "domain my.own" in error.reason
    assert "no operator set import" in error.reason


def test_an_unknown_operator_inside_a_branch_is_named(build):
    error = refused(
        build(
            """g (bool c, float[2] x) => (float[2] y) {
                 y = If (c) <then_branch = t () => (float[2] p) { [deep] p = Frob(x) },
                             else_branch = e () => (float[2] r) { r = Neg(x) }>
               }"""
        )
    )
    assert "'deep'" in error.reason


def test_an_operator_that_onnx_runtime_does_not_implement_is_named(build):
    error = refused(build("g (uint8[9] x) => (uint8[h,w,c] y) { y = ImageDecoder(x) }", opset=20))
    assert "operator ImageDecoder" in error.reason
    assert "has no implementation for these types in operator set 20" in error.reason


def test_an_operator_set_newer_than_onnx_runtime_is_refused_with_the_newest_it_takes(build):
    error = refused(build("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=99))
    assert "uses operator set 99 of ai.onnx, and ONNX Runtime supports up to" in error.reason


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ("g (float[2] x) => (float[2] y) { y = Relu(z) }", "Node input 'z' is not a graph input"),
        ("g (float[2] x) => (float[2] y) { z = Relu(x) }", "Graph output (y) does not exist"),
        (
            "g (float[2] x) => (float[2] y) { y = Relu <size = 3> (x) }",
            "Unrecognized attribute: size",
        ),
        ("g (float[2,3] x) => (float y) { y = MatMul(x, x) }", "Incompatible dimensions"),
        ("g (float[2] x, int64[2] i) => (float y) { y = Add(x, i) }", "Type Error"),
        ("g (float[2] x) => (float y) { y = Relu(x) y = Neg(x) }", "Duplicate definition"),
    ],
)
def test_an_invalid_graph_is_refused_with_onnx_runtimes_reason(build, graph, reason):
    error = refused(build(graph))
    assert error.reason.startswith("is not a valid model: ")
    assert reason in error.reason
    assert "onnx.checker" in error.next_step
