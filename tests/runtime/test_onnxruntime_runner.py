"""Every kind of ONNX value, through a real ONNX Runtime session."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeweave.runtime.errors import BundleError, RuntimeFault
from edgeweave.runtime.onnxruntime_runner import OnnxRuntimeRunner, open_runner

PLAIN = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}
FOREIGN = {
    "bfloat16": TensorProto.BFLOAT16,
    "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
    "float8_e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
    "float8_e5m2": TensorProto.FLOAT8E5M2,
    "float8_e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
}


@pytest.fixture
def runner_of(tmp_path):
    """Open a model of the given nodes and border values; closed at the end of the test."""
    runners = []

    def make(nodes, inputs, outputs, opset=21, threads=1):
        graph = helper.make_graph(nodes, "g", inputs, outputs)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10
        )
        onnx.save(model, tmp_path / "stage.onnx")
        runners.append(OnnxRuntimeRunner(tmp_path / "stage.onnx", threads))
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def identity(kind, shape):
    return (
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", kind, shape)],
        [tensor("y", kind, shape)],
    )


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3), (1,)])
@pytest.mark.parametrize("dtype", [*PLAIN, *FOREIGN])
def test_tensors_of_every_type_and_rank_come_back_equal(runner_of, dtype, shape):
    kind = {**PLAIN, **FOREIGN}[dtype]
    numpy_type = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).astype(numpy_type)
    (y,) = runner_of(*identity(kind, shape)).run([x])
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize(
    ("dtype", "kind"), [("int4", TensorProto.INT4), ("uint4", TensorProto.UINT4)]
)
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_four_bit_tensors_are_packed_on_the_way_in_and_unpacked_on_the_way_out(
    runner_of, dtype, kind, count
):
    low = -8 if dtype == "int4" else 0
    values = (np.arange(count) * 5 % 16 + low).astype(np.float32)
    cast_in = [helper.make_node("Cast", ["x"], ["y"], to=kind)]
    narrow = runner_of(
        cast_in, [tensor("x", TensorProto.FLOAT, [count])], [tensor("y", kind, [count])]
    )
    (small,) = narrow.run([values])
    assert small.dtype == np.dtype(getattr(ml_dtypes, dtype))
    np.testing.assert_array_equal(small.astype(np.float32), values)
    cast_out = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    widen = runner_of(
        cast_out, [tensor("x", kind, [count])], [tensor("y", TensorProto.FLOAT, [count])]
    )
    (back,) = widen.run([small])
    np.testing.assert_array_equal(back, values)


def test_strings_pass(runner_of):
    x = np.array([["a", "bc"]], object)
    (y,) = runner_of(*identity(TensorProto.STRING, [1, 2])).run([x])
    assert y.tolist() == [["a", "bc"]]


def test_strings_and_bfloat16_may_be_outputs_of_one_model(runner_of):
    nodes = [
        helper.make_node("Cast", ["x"], ["s"], to=TensorProto.STRING),
        helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
    ]
    outputs = [tensor("s", TensorProto.STRING, [2]), tensor("b", TensorProto.BFLOAT16, [2])]
    runner = runner_of(nodes, [tensor("x", TensorProto.FLOAT, [2])], outputs)
    text, half = runner.run([np.array([1, 2], np.float32)])
    assert text.tolist() == ["1", "2"]
    assert half.astype(float).tolist() == [1.0, 2.0]


def sequence(name):
    return helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None)


def test_sequences_pass_as_lists(runner_of):
    nodes = [helper.make_node("SequenceInsert", ["q", "x"], ["r"])]
    runner = runner_of(nodes, [sequence("q"), tensor("x", TensorProto.FLOAT, [2])], [sequence("r")])
    x = np.ones(2, np.float32)
    assert [len(runner.run([items, x])[0]) for items in ([], [x, x])] == [1, 3]


def test_an_absent_optional_passes_as_none(runner_of):
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    nodes = [helper.make_node("Identity", ["o"], ["p"])]
    runner = runner_of(
        nodes, [helper.make_value_info("o", kind)], [helper.make_value_info("p", kind)]
    )
    assert runner.run([None]) == [None]
    np.testing.assert_array_equal(runner.run([np.ones(2, np.float32)])[0], [1, 1])


def test_a_sequence_into_a_model_that_returns_bfloat16_is_refused_in_words(runner_of):
    nodes = [
        helper.make_node("ConcatFromSequence", ["q"], ["c"], axis=0),
        helper.make_node("Cast", ["c"], ["b"], to=TensorProto.BFLOAT16),
    ]
    runner = runner_of(nodes, [sequence("q")], [tensor("b", TensorProto.BFLOAT16, [None])])
    with pytest.raises(RuntimeFault, match="cannot be fed to a model that returns bfloat16"):
        runner.run([[np.ones(2, np.float32)]])


def test_a_sequence_out_of_a_model_that_returns_bfloat16_is_refused_in_words(runner_of):
    nodes = [
        helper.make_node("SequenceConstruct", ["x"], ["q"]),
        helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
    ]
    outputs = [sequence("q"), tensor("b", TensorProto.BFLOAT16, [2])]
    runner = runner_of(nodes, [tensor("x", TensorProto.FLOAT, [2])], outputs)
    with pytest.raises(RuntimeFault, match="cannot be returned by a model that also returns"):
        runner.run([np.ones(2, np.float32)])


def test_a_strided_foreign_input_is_read_in_its_own_order(runner_of):
    x = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16).T
    (y,) = runner_of(*identity(TensorProto.BFLOAT16, [3, 2])).run([x])
    np.testing.assert_array_equal(y, x)


def test_outputs_are_usable_after_the_runner_is_closed(tmp_path, runner_of):
    runner = runner_of(*identity(TensorProto.BFLOAT16, [3]))
    (y,) = runner.run([np.ones(3, ml_dtypes.bfloat16)])
    runner.run([np.zeros(3, ml_dtypes.bfloat16)])
    assert y.astype(float).tolist() == [1.0, 1.0, 1.0]


def test_a_file_that_is_no_model_is_refused_with_the_version(tmp_path):
    (tmp_path / "stage.onnx").write_bytes(b"nonsense")
    with pytest.raises(RuntimeFault, match=r"stage\.onnx: ONNX Runtime .* cannot open it"):
        OnnxRuntimeRunner(tmp_path / "stage.onnx", 1)


def test_a_stage_whose_model_has_other_names_than_the_manifest_is_refused(builders):
    import dataclasses

    from edgeweave.compiler.pack import stage_entry

    built = builders.stage(
        "s0", "cpu0", builders.scaled("x", "a", "Add", 1), [builders.spec("x")], []
    )
    with pytest.raises(BundleError, match="stage s0: its model has the outputs"):
        open_runner(stage_entry(built), built.artifact.folder, ())
    swapped = dataclasses.replace(built, inputs=(builders.spec("z"),))
    with pytest.raises(BundleError, match="stage s0: its model has the inputs"):
        open_runner(stage_entry(swapped), built.artifact.folder, ())
