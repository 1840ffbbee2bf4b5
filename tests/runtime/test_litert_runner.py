"""Stages of an NPU through LiteRT's reference kernels, against LiteRT called directly."""

import dataclasses
import sys

import numpy as np
import pytest

from edgeweave.runtime.errors import BundleError, RuntimeFault
from edgeweave.runtime.litert_runner import open_runner
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import find_loader
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.npu_ethos_u.emit.flatbuffer import FlatbufferWriter

# ONNX's order of axes; in the model channels are last
A = ValueSpec("a", "tensor(int8)", (1, 4, 6, 5))
B = ValueSpec("b", "tensor(int8)", (1, 4, 6, 5))
SUM = ValueSpec("sum", "tensor(int8)", (1, 4, 6, 5))
SOFT = ValueSpec("soft", "tensor(int8)", (1, 6, 5, 4))
LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
OPTIONS = {
    "model": "stage.tflite",
    "inputs": [["a", LAST], ["b", LAST]],
    "outputs": [["sum", FIRST], ["soft", []]],
    "vendor": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two inputs and two outputs: a sum, and its softmax along the channels."""
    writer = FlatbufferWriter()
    shape = (1, 6, 5, 4)
    a = writer.tensor("a", shape, "int8", [0.03], 7)
    b = writer.tensor("b", shape, "int8", [0.05], -9)
    total = writer.tensor("sum", shape, "int8", [0.07], 1)
    soft = writer.tensor("soft", shape, "int8", [1 / 256], -128)
    writer.operator("ADD", [a, b], [total], 2, "AddOptions")
    writer.operator("SOFTMAX", [total], [soft], 2, "SoftmaxOptions", {"beta": 1.0})
    made = tmp_path_factory.mktemp("stage")
    (made / "stage.tflite").write_bytes(writer.finish([a, b], [total, soft]))
    return made


def entry(inputs=(A, B), outputs=(SUM, SOFT), **options):
    """The stage as the manifest has it; ``named`` are options in place of OPTIONS."""
    options |= options.pop("named", {})
    return StageEntry(
        name="s0",
        engine="npu",
        backend="npu_ethos_u",
        cores=(),
        kind="litert",
        folder="stages/s0",
        files=("stage.tflite",),
        inputs=inputs,
        outputs=outputs,
        options={k: v for k, v in {**OPTIONS, **options}.items() if v is not None},
        predicted_s=1e-3,
        host_run="reference",
    )


def values(seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(-128, 128, A.shape).astype(np.int8) for _ in range(2)]


def directly(path, inputs):
    """LiteRT's own results, in its order of axes; XNNPACK and others would round otherwise."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=path.read_bytes(), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]


@pytest.fixture
def opened(folder):
    """Open stages of the model; closed at the end of the test."""
    runners = []

    def make(stage):
        runners.append(find_loader(stage, {})(stage, folder, ()))
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()


def test_the_results_are_litert_s_own(opened, folder):
    runner = opened(entry())
    for seed in range(3):
        a, b = values(seed)
        total, soft = runner.run([a, b])
        wanted = directly(folder / "stage.tflite", [a.transpose(LAST), b.transpose(LAST)])
        np.testing.assert_array_equal(total, wanted[0].transpose(FIRST), strict=True)
        np.testing.assert_array_equal(soft, wanted[1], strict=True)
        assert len(np.unique(total)) > 50
        assert total.flags.c_contiguous


def test_values_are_found_by_name_whatever_their_order(opened):
    a, b = values()
    total, soft = opened(entry()).run([a, b])
    turned = opened(entry(inputs=(B, A), outputs=(SOFT, SUM))).run([b, a])
    np.testing.assert_array_equal(turned[0], soft, strict=True)
    np.testing.assert_array_equal(turned[1], total, strict=True)


def test_inputs_may_lie_in_memory_as_they_like(opened):
    runner = opened(entry())
    a, b = values()
    strided = np.asfortranarray(a), b[..., ::-1].copy()[..., ::-1]
    for got, wanted in zip(runner.run(strided), runner.run([a, b]), strict=True):
        np.testing.assert_array_equal(got, wanted, strict=True)


def test_results_stay_as_they_are_when_the_next_are_made_and_after_closing(folder):
    runner = open_runner(entry(), folder, ())
    kept = runner.run(values(1))
    copies = [value.copy() for value in kept]
    runner.run(values(2))
    runner.close()
    for value, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(value, copy)


@pytest.mark.parametrize("wrong", [np.float32, np.uint8, np.int16])
def test_a_value_of_another_dtype_is_never_converted(opened, wrong):
    a, b = values()
    with pytest.raises(ValueError, match="Cannot set tensor"):
        opened(entry()).run([a.astype(wrong), b])


def test_a_value_of_another_shape_is_refused(opened):
    a, b = values()
    with pytest.raises(ValueError, match=r"Cannot set tensor|axes don't match"):
        opened(entry()).run([a[:, :2], b])


def test_opening_and_running_print_nothing(opened, capfd):
    opened(entry()).run(values())
    assert capfd.readouterr() == ("", "")


def other(spec, **changes):
    return dataclasses.replace(spec, **changes)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (entry(model=None), "stage s0: options name the model None, and it is none of its files"),
        (entry(model=3), "options name the model 3,"),
        (entry(model="../stage.tflite"), "and it is none of its files"),
        (entry(named={"inputs": None}), "options name no inputs"),
        (entry(named={"outputs": [["sum"]]}), "options name no outputs"),
        (entry(named={"outputs": [["sum", ["x"]], ["soft", []]]}), "options name no outputs"),
        (entry(named={"inputs": [["a", LAST]]}), r"options name the inputs \['a'\], its model has"),
        (entry(named={"inputs": [["a", [0, 1, 2, 9]], ["b", LAST]]}), "with the axes .0, 1, 2, 9"),
        (entry(named={"outputs": [["sum", LAST], ["soft", []]]}), "with the axes .0, 2, 3, 1"),
        (entry(inputs=(A,)), r"options name the inputs \['a', 'b'\], its model has 2, .*\['a'\]"),
        (entry(outputs=(SUM, other(SOFT, name="s"))), r"the manifest names \['sum', 's'\]"),
        (entry(inputs=(other(A, type="tensor(uint8)"), B)), "'a' is uint8.*, and int8.*its model"),
        (entry(inputs=(other(A, shape=(1, 6, 5, 4)), B)), r"'a' is int8\[1, 6, 5, 4\] in the man"),
        (entry(outputs=(SUM, other(SOFT, shape=(1, 30, 4)))), r"'soft' is int8\[1, 30, 4\]"),
    ],
)
def test_what_does_not_fit_together_is_said(folder, stage, words):
    with pytest.raises(BundleError, match=words):
        open_runner(stage, folder, ())


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x1c\0\0\0TFL3" + b"\xff" * 100])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "stage.tflite").write_bytes(content)
    with pytest.raises(BundleError, match=r"stage\.tflite: LiteRT cannot open it \(.+\)\. Pack"):
        open_runner(entry(), tmp_path, ())


def test_a_model_that_was_cut_off_is_refused(tmp_path, folder):
    whole = (folder / "stage.tflite").read_bytes()
    (tmp_path / "stage.tflite").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="LiteRT cannot open it"):
        open_runner(entry(), tmp_path, ())


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"stage\.tflite: cannot be read \(No such file"):
        open_runner(entry(), tmp_path, ())


def test_without_litert_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(RuntimeFault, match=r"stage\.tflite: LiteRT.*'edgeweave\[ethos-u\]'"):
        open_runner(entry(), folder, ())
