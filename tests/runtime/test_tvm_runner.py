import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import StageEntry

tvm = pytest.importorskip("tvm", reason="TVM is not installed")

WEIGHT = np.arange(8, dtype=np.float32).reshape(2, 4)


def export(module, path):
    def link(output, objects, options=None):
        command = [sys.executable, "-m", "ziglang", "ld.lld", "-shared", "-o", output, *objects]
        subprocess.run(command, check=True, capture_output=True)

    built = tvm.relax.build(module, tvm.target.Target({"kind": "llvm"}))
    built.export_library(str(path), fcompile=link)


def add_main(builder, name, types, body):
    parameters = [
        tvm.relax.Var(f"p{i}", tvm.relax.TensorType(shape, dtype))
        for i, (shape, dtype) in enumerate(types)
    ]
    with builder.function(name, parameters):
        with builder.dataflow():
            result = builder.emit_output(body(builder, *parameters))
        builder.emit_func_output(result)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A library of three functions, and the weight of the first."""
    op = tvm.relax.op

    def nested(builder, x, scalar, empty, weight):
        pair = tvm.relax.Tuple([op.multiply(scalar, scalar), op.add(empty, empty)])
        return tvm.relax.Tuple([op.add(x, weight), pair, op.shape_of(x)])

    builder = tvm.relax.BlockBuilder()
    f32 = "float32"
    types = [((2, 4), f32), ((), f32), ((0, 3), f32), ((2, 4), f32)]
    add_main(builder, "main", types, nested)
    add_main(builder, "twice", [((5,), f32)], lambda b, x: op.add(x, x))
    add_main(builder, "flip", [((3,), "bool")], lambda b, x: op.logical_not(x))
    folder = tmp_path_factory.mktemp("tvm")
    export(builder.get(), folder / "stage.so")
    (folder / "weights.bin").write_bytes(bytes(64) + WEIGHT.tobytes())
    return folder


def weight(**changes):
    entry = {"name": "w", "dtype": "float32", "shape": [2, 4], "offset": 64, "nbytes": 32}
    return {**entry, **changes}


def entry(outputs, **options):
    return StageEntry(
        name="s0",
        engine="cpu0",
        backend="cpu",
        cores=(),
        kind="tvm",
        folder="stages/s0",
        files=("stage.so",),
        inputs=(),
        outputs=tuple(range(outputs)),
        options=options,
        predicted_s=0.0,
        host_run="measured",
    )


def main_stage(**changes):
    return entry(4, function="main", weights=[weight(**changes)], weights_file="weights.bin")


@pytest.fixture
def open_stage(folder, in_thread):
    """Open a stage, run it once and close it, in a thread of its own as the pipeline does."""
    from edgeweave.runtime.tvm_runner import open_runner

    def run(stage, *inputs, cores=()):
        def body():
            runner = open_runner(stage, folder, cores)
            outputs = runner.run(inputs)
            runner.close()
            return outputs

        return in_thread(body)

    return run


def inputs_of_main():
    x = np.ones((2, 4), np.float32)
    return x, np.array(3, np.float32), np.zeros((0, 3), np.float32)


def test_a_nested_tuple_of_tensors_scalars_empties_and_shapes_comes_out_flat(open_stage):
    total, square, empty, shape = open_stage(main_stage(), *inputs_of_main())
    np.testing.assert_array_equal(total, WEIGHT + 1)
    assert (square.shape, float(square)) == ((), 9.0)
    assert (empty.shape, empty.dtype) == ((0, 3), np.float32)
    assert (shape.dtype, shape.tolist()) == (np.int64, [2, 4])


def test_a_weight_at_an_unaligned_offset_is_copied_rather_than_mapped(open_stage, folder):
    (folder / "odd.bin").write_bytes(b"\0" * 3 + WEIGHT.tobytes())
    stage = entry(4, function="main", weights=[weight(offset=3)], weights_file="odd.bin")
    np.testing.assert_array_equal(open_stage(stage, *inputs_of_main())[0], WEIGHT + 1)


def test_the_weights_file_is_not_changed_by_a_run(open_stage, folder):
    before = (folder / "weights.bin").read_bytes()
    open_stage(main_stage(), *inputs_of_main())
    assert (folder / "weights.bin").read_bytes() == before


@pytest.mark.parametrize("shift", [0, 1, 4, 17, 60])
def test_inputs_at_any_alignment_are_taken(open_stage, shift):
    raw = np.zeros(5 * 4 + 128, np.uint8)
    start = -raw.ctypes.data % 64 + shift
    x = raw[start : start + 20].view(np.float32)
    x[:] = np.arange(5)
    np.testing.assert_array_equal(open_stage(entry(1, function="twice"), x)[0], 2 * np.arange(5))


def test_strided_and_read_only_inputs_are_taken(open_stage):
    x = np.arange(10, dtype=np.float32)
    x.flags.writeable = False
    (result,) = open_stage(entry(1, function="twice"), x[::2])
    np.testing.assert_array_equal(result, 2 * x[::2])


def test_empty_arrays_are_taken_wherever_numpy_puts_them(in_thread):
    from edgeweave.runtime.tvm_runner import to_tensor

    for offset in range(64):
        empty = np.zeros(64, np.uint8)[offset:offset].view(np.float32).reshape(0, 3)
        assert tuple(to_tensor(empty).shape) == (0, 3)


def test_booleans_pass_in_and_out(open_stage):
    (result,) = open_stage(entry(1, function="flip"), np.array([True, False, True]))
    assert result.tolist() == [False, True, False]


def test_bfloat16_values_become_tensors_and_come_back(in_thread):
    import ml_dtypes

    from edgeweave.runtime.tvm_runner import _to_array, to_tensor

    x = np.array([1.5, -2, 0]).astype(ml_dtypes.bfloat16)
    back = _to_array(to_tensor(x))
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back, x)


def test_outputs_stay_as_they_are_when_the_stage_runs_again(folder, in_thread):
    from edgeweave.runtime.tvm_runner import open_runner

    def body():
        runner = open_runner(entry(1, function="twice"), folder, ())
        results = [runner.run([np.full(5, i, np.float32)])[0] for i in range(20)]
        runner.close()
        return [float(result[0]) for result in results]

    assert in_thread(body) == [2.0 * i for i in range(20)]


def test_an_unpinned_stage_leaves_its_thread_free_to_move(folder, in_thread):
    import os

    from edgeweave.runtime.tvm_runner import open_runner

    def body():
        before = os.sched_getaffinity(0)
        runner = open_runner(entry(1, function="twice"), folder, ())
        runner.run([np.zeros(5, np.float32)])
        runner.close()
        return before, os.sched_getaffinity(0)

    before, after = in_thread(body)
    assert after == before


def test_a_pinned_stage_stays_on_its_core(folder, in_thread):
    import os

    from edgeweave.runtime.tvm_runner import open_runner

    core = max(os.sched_getaffinity(0))

    def body():
        os.sched_setaffinity(0, {core})
        runner = open_runner(entry(1, function="twice"), folder, (core,))
        runner.run([np.zeros(5, np.float32)])
        runner.close()
        return os.sched_getaffinity(0)

    assert in_thread(body) == {core}


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (entry(1), "do not name a function"),
        (entry(1, function="main", weights=[{"name": "w"}]), "do not name a function"),
        (entry(1, function="main", weights=[weight()]), "do not name a function"),
        (entry(1, function="twice", features="avx2"), "do not name .* and CPU features"),
        (entry(1, function="twice", features=[2]), "do not name .* and CPU features"),
        (entry(1, function="absent"), "cannot open stage.so"),
        (main_stage(offset=65), "does not lie inside weights.bin"),
        (main_stage(offset=-64), "does not lie inside weights.bin"),
        (main_stage(nbytes=16), "does not lie inside weights.bin"),
        (entry(7, function="twice"), "returned 1 values"),
    ],
)
def test_a_stage_that_does_not_fit_its_manifest_is_refused(open_stage, stage, message):
    with pytest.raises(BundleError, match=message):
        open_stage(stage, np.zeros(5, np.float32))


def test_a_file_that_is_no_library_is_refused(tmp_path: Path, in_thread):
    from edgeweave.runtime.tvm_runner import open_runner

    (tmp_path / "stage.so").write_text("not a library")
    with pytest.raises(BundleError, match=r"cannot open stage\.so"):
        in_thread(lambda: open_runner(entry(1, function="main"), tmp_path, ()))


def test_code_that_this_cpu_cannot_run_is_refused_before_it_is_loaded(tmp_path: Path, in_thread):
    from edgeweave.runtime.tvm_runner import open_runner

    (tmp_path / "stage.so").write_text("not a library")
    stage = entry(1, function="main", mcpu="a-later-cpu", features=["of-tomorrow", "never-made"])
    with pytest.raises(BundleError) as caught:
        in_thread(lambda: open_runner(stage, tmp_path, ()))
    assert caught.value.subject == "stage s0"
    assert caught.value.reason == (
        "is compiled for a-later-cpu and uses never-made, of-tomorrow, which the CPU of this "
        "machine lacks"
    )


def test_code_whose_features_this_cpu_has_runs(folder, in_thread):
    from edgeweave.runtime.cpu_features import machine_features
    from edgeweave.runtime.tvm_runner import open_runner

    stage = entry(1, function="twice", mcpu="this", features=sorted(machine_features()))

    def body():
        runner = open_runner(stage, folder, ())
        try:
            return runner.run([np.ones(5, np.float32)])[0].copy()
        finally:
            runner.close()

    np.testing.assert_array_equal(in_thread(body), np.full(5, 2, np.float32))


def test_opening_a_stage_does_not_import_the_tensor_intrinsics():
    code = (
        "import sys; import edgeweave.runtime.tvm_runner; "
        "print([n for n in sys.modules if n.startswith('tvm.s_tir.tensor_intrin')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
