"""Elementwise kernels of bytes run through all axes at once, and keep their results."""

import numpy as np
import onnx.parser
import pytest

from edgeweave.schedules.apply import apply_schedules
from edgeweave.schedules.int8.elementwise import schedule_elementwise

tvm = pytest.importorskip("tvm")

SCALES = "<float s = {0.05}, int8 z = {3}, float t = {0.08}, int8 o = {-7}>"
BODIES = {
    "add": (["a", "b"], [1, 3, 5, 7], "x = Add(af, bf)"),
    "add of a row to each": (["a", "b"], [1, 3, 5, 7], "x = Add(af, bf)"),
    "concat": (["a", "b"], [1, 6, 5, 7], "x = Concat<axis = 1>(af, bf)"),
    "relu": (["a"], [1, 3, 5, 7], "x = Relu(af)"),
    "large": (["a", "b"], [2, 16, 24, 31], "x = Mul(af, bf)"),
    "pad": (["a"], [1, 3, 7, 9], "x = Pad(af, p)"),
}


def target():
    return tvm.target.Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64"})


def lowered(name):
    """The fused module of one quantised operator."""
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    names, out, body = BODIES[name]
    size = {"large": [2, 16, 24, 31]}.get(name, [1, 3, 5, 7])
    shapes = [size, [7] if "row" in name else size][: len(names)]
    given = ", ".join(f"int8{shape} {n}" for n, shape in zip(names, shapes, strict=True))
    lines = "".join(f"{n}f = DequantizeLinear({n}, s, z)\n" for n in names)
    constants = SCALES.replace(">", ", int64[8] p = {0,0,1,1,0,0,1,1}>")
    text = (
        f'<ir_version: 10, opset_import: ["": 18]> g ({given}) => (int8{out} y) {constants} '
        f"{{ {lines} {body}\n y = QuantizeLinear(x, t, o) }}"
    )
    module = from_onnx(onnx.parser.parse_model(text), sanitize_input_names=False)
    with target():
        return relax.get_pipeline("zero")(module), shapes


def run(module, arrays):
    from tvm import relax

    built = relax.build(module, target(), relax_pipeline=relax.get_pipeline("default"))
    machine = relax.VirtualMachine(built, tvm.cpu())
    return machine["main"](*[tvm.runtime.tensor(array) for array in arrays]).numpy()


def kernel(module):
    (found,) = (f for f in module.functions.values() if isinstance(f, tvm.tirx.PrimFunc))
    return found


@pytest.mark.parametrize("name", BODIES)
def test_a_kernel_of_bytes_keeps_its_results(name):
    module, shapes = lowered(name)
    generator = np.random.default_rng(0)
    arrays = [generator.integers(-128, 128, shape).astype(np.int8) for shape in shapes]
    scheduled = apply_schedules(module, target())
    assert "tirx.is_scheduled" in kernel(scheduled).attrs
    off = run(scheduled, arrays).astype(int) - run(module, arrays).astype(int)
    assert np.abs(off).max() <= 1
    assert np.mean(off != 0) < 0.01


@pytest.mark.parametrize(("name", "inner"), [("add", 105), ("concat", 35), ("relu", 105)])
def test_axes_that_all_operands_share_are_run_through_as_one(name, inner):
    module, _ = lowered(name)
    text = schedule_elementwise(kernel(module), 4).script()
    assert "T.vectorized(4)" in text
    assert f"{inner - 4}" in text  # where the last vector of a line begins
    assert "//" not in text.partition("T.vectorized")[2]


def test_threads_share_a_large_kernel_only():
    assert "T.parallel" in schedule_elementwise(kernel(lowered("large")[0]), 4).script()
    assert "T.parallel" not in schedule_elementwise(kernel(lowered("add")[0]), 4).script()


def test_what_moves_along_the_last_axis_is_left_to_the_default_schedule():
    assert schedule_elementwise(kernel(lowered("pad")[0]), 4) is None


def test_floats_are_left_to_the_default_schedule():
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    text = '<ir_version: 10, opset_import: ["": 18]> g (float[9] a) => (float[9] y) { y = Relu(a) }'
    with target():
        module = relax.get_pipeline("zero")(from_onnx(onnx.parser.parse_model(text)))
    assert schedule_elementwise(kernel(module), 4) is None
