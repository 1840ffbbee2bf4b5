import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.folding import fold
from edgeweave.targets.npu_ethos_u.emit.reading import read_quantized

IMAGE = (2, 4, 5, 6)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("kind", ["Flatten", "Reshape"])
def test_a_flattened_image_is_multiplied_as_it_lies(check, n, draw, kind, transposed):
    shape = (10, 120) if transposed else (120, 10)
    inputs = "x" if kind == "Flatten" else "x s"
    nodes = [n(kind, inputs, "t"), n("Gemm", "t w b", "y", transB=transposed)]
    constants = {"w": draw(*shape), "b": draw(10), "s": np.array([2, -1])}
    outcome = check(nodes, {"x": IMAGE}, constants, keep=True)
    assert outcome.difference <= 1
    assert "TRANSPOSE" not in outcome.codes


OTHERS = {
    "read by another": ("t y", {"keep": True}),
    "given at another scale": ("y", {"keep": False}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_row_that_is_needed_is_made(check, n, draw, case):
    outputs, how = OTHERS[case]
    nodes = [n("Flatten", "x", "t"), n("Gemm", "t w", "y")]
    outcome = check(nodes, {"x": IMAGE}, {"w": draw(120, 10)}, outputs.split(), **how)
    assert outcome.difference <= 1


def test_a_row_of_several_images_is_no_image(check, n, draw):
    nodes = [n("Reshape", "x s", "t"), n("Gemm", "t w", "y")]
    constants = {"w": draw(60, 10), "s": np.array([4, 60])}
    assert check(nodes, {"x": IMAGE}, constants, keep=True).difference <= 1


def test_a_row_of_no_image_is_made(check, n, draw):
    nodes = [n("Flatten", "x", "t"), n("Gemm", "t w", "y")]
    assert check(nodes, {"x": (2, 4, 5)}, {"w": draw(20, 10)}, keep=True).difference <= 1


def test_operators_that_nobody_reads_are_gone(quantised, n):
    model = quantised([n("Relu", "x", "y"), n("Exp", "x", "z")], {"x": IMAGE}, outputs=("y", "z"))
    del model.graph.output[1]
    assert [operator.kind for operator in fold(read_quantized(model)).operators] == ["Relu"]
