"""Scheduled kernels compute what the plain loops compute, and run in vectors and threads."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeweave.schedules.apply import apply_schedules, vector_lanes
from edgeweave.schedules.cpu_default import schedule_kernel

tvm = pytest.importorskip("tvm")


def target(**options):
    return tvm.target.Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", **options})


def fused(node, shapes, out, **constants):
    """The fused module of one ONNX node on float32 inputs of these shapes."""
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    names = [f"x{i}" for i in range(len(shapes))]
    kind, attributes = node
    graph = helper.make_graph(
        [helper.make_node(kind, [*names, *constants], ["y"], **attributes)],
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(names, shapes, strict=True)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [onnx.numpy_helper.from_array(np.array(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with target():
        return relax.get_pipeline("zero")(from_onnx(model))


def run(module, arrays):
    from tvm import relax

    built = relax.build(module, target(), relax_pipeline=relax.get_pipeline("default"))
    machine = relax.VirtualMachine(built, tvm.cpu())
    return machine["main"](*[tvm.runtime.tensor(array) for array in arrays]).numpy()


CASES = {
    "conv": (("Conv", {"pads": [1, 1, 1, 1]}), [[1, 8, 20, 20], [16, 8, 3, 3]], [1, 16, 20, 20]),
    "conv of odd sizes": (("Conv", {}), [[1, 3, 19, 23], [5, 3, 3, 3]], [1, 5, 17, 21]),
    "strided conv": (
        ("Conv", {"strides": [2, 2]}), [[1, 4, 33, 35], [8, 4, 3, 3]], [1, 8, 16, 17]),
    "depthwise conv": (
        ("Conv", {"group": 8, "pads": [1] * 4}), [[1, 8, 17, 17], [8, 1, 3, 3]], [1, 8, 17, 17]),
    "matmul": (("MatMul", {}), [[32, 48], [48, 64]], [32, 64]),
    "matmul of odd sizes": (("MatMul", {}), [[7, 13], [13, 37]], [7, 37]),
    "matmul of a vector": (("MatMul", {}), [[1, 300], [300, 10]], [1, 10]),
    "elementwise": (("Add", {}), [[4, 100, 7], [4, 100, 7]], [4, 100, 7]),
    "few elements": (("Add", {}), [[3], [3]], [3]),
    "softmax": (("Softmax", {"axis": -1}), [[6, 50]], [6, 50]),
    "max pool": (("MaxPool", {"kernel_shape": [3, 3]}), [[1, 5, 19, 19]], [1, 5, 17, 17]),
    "transpose": (("Transpose", {"perm": [0, 2, 1]}), [[2, 30, 41]], [2, 41, 30]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_scheduled_kernel_keeps_its_results(name):
    node, shapes, out = CASES[name]
    module = fused(node, shapes, out)
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal(shape).astype(np.float32) for shape in shapes]
    scheduled = apply_schedules(module, target())
    assert any("tirx.is_scheduled" in f.attrs for f in scheduled.functions.values() if f.attrs)
    np.testing.assert_allclose(run(scheduled, arrays), run(module, arrays), rtol=1e-4, atol=1e-5)


def test_a_reduction_to_one_number_keeps_its_result():
    module = fused(("ReduceSum", {"keepdims": 0}), [[40, 50]], [], axes=[0, 1])
    x = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    scheduled = apply_schedules(module, target())
    np.testing.assert_allclose(run(scheduled, [x]), x.sum(), rtol=1e-4)


def kernels(module):
    return [f for f in module.functions.values() if isinstance(f, tvm.tirx.PrimFunc)]


def test_a_convolution_is_tiled_for_vectors_and_threads():
    (kernel,) = kernels(fused(*CASES["conv"]))
    text = schedule_kernel(kernel, 16).script()
    assert "T.vectorized(T.int64(16))" in text
    assert "T.unroll(T.int64(4))" in text
    assert "T.parallel(" in text


def test_a_kernel_of_few_elements_gets_neither_vectors_nor_threads():
    (kernel,) = kernels(fused(*CASES["few elements"]))
    text = schedule_kernel(kernel, 16).script()
    assert "vectorized" not in text
    assert "parallel" not in text


def test_the_attributes_of_a_function_survive_its_schedule():
    (kernel,) = kernels(fused(*CASES["conv"]))
    marked = kernel.with_attr("edgeweave.test", 1)
    assert int(schedule_kernel(marked, 8).attrs["edgeweave.test"]) == 1


def test_a_scheduled_function_is_not_scheduled_again():
    once = apply_schedules(fused(*CASES["conv"]), target())
    twice = apply_schedules(once, target())
    tvm.ir.assert_structural_equal(twice, once)


@pytest.mark.parametrize(
    ("options", "lanes"),
    [
        ({"mcpu": "cascadelake"}, 16),
        ({"mcpu": "skylake-avx512"}, 16),
        ({"mcpu": "x86-64", "mattr": ["+avx512f"]}, 16),
        ({"mcpu": "haswell"}, 8),
        ({"mcpu": "skylake"}, 8),
        ({"mcpu": "znver2"}, 8),
        ({"mcpu": "znver4"}, 16),
        ({"mcpu": "x86-64"}, 4),
        ({"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76"}, 4),
    ],
)
def test_vectors_are_as_long_as_the_cpus_registers(options, lanes):
    assert vector_lanes(target(**options)) == lanes
