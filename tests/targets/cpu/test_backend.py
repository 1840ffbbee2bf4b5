import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.spec import ValueSpec
from edgeweave.runtime.tvm_runner import open_runner
from edgeweave.targets.backend import Slot, StageModel
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.cpu import BACKEND, backend
from edgeweave.targets.errors import BuildError
from edgeweave.targets.registry import find_backend

ONE = Quantity(1.0, "test")
X, Y = ValueSpec("x", "tensor(float)", (3, 5)), ValueSpec("y", "tensor(float)", (3, 2))
HERE = f"{platform.machine()}-linux-gnu"


def engine(triple=HERE, cores=()):
    target = {"mtriple": triple}
    return Engine("e0", "cpu", "", ("cpu",), {}, ONE, ONE, ONE, cores=cores, llvm_target=target)


def stage(weights=("w", "b")):
    """y = x w + b; what is not in ``weights`` is a constant of the code."""
    arrays = {
        "w": np.arange(10, dtype=np.float32).reshape(5, 2),
        "b": np.array([1, -1], np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Add", ["t", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return StageModel("s0", Slot("e0", "cpu"), (), model, (X,), (Y,), tuple(weights))


def lowered(made: StageModel, target):
    """The stage's module with its weights as parameters, fused."""
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    model = onnx.ModelProto.FromString(made.model.SerializeToString())
    kept = [t for t in model.graph.initializer if t.name not in made.weights]
    moved = [t for name in made.weights for t in model.graph.initializer if t.name == name]
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in moved
    )
    kept = [numpy_helper.from_array(numpy_helper.to_array(t), t.name) for t in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    with target:
        return tvm.transform.Sequential([relax.get_pipeline("zero")])(from_onnx(model))


def built(made, on, folder):
    return BACKEND.build(made, lowered(made, BACKEND.target(on)), on, folder)


def run(artifact, x):
    entry = StageEntry(
        name="s0",
        engine="e0",
        backend="cpu",
        kind=artifact.kind,
        host_run="measured",
        cores=(),
        folder="stages/s0",
        files=artifact.files,
        inputs=(X,),
        outputs=(Y,),
        predicted_s=0.0,
        options=artifact.options,
    )

    def once():
        runner = open_runner(entry, artifact.folder, ())
        try:
            return runner.run([x])[0].copy()
        finally:
            runner.close()

    with ThreadPoolExecutor(1) as pool:  # a runner pins the thread it is opened in
        return pool.submit(once).result()


def test_the_registry_finds_it_and_it_eats_tensorir():
    assert find_backend("cpu") is BACKEND
    assert (BACKEND.name, BACKEND.consumes) == ("cpu", "tensorir")


@pytest.mark.parametrize("weights", [("w", "b"), ("w",), ()])
def test_a_built_stage_computes_with_its_weights_from_the_file(weights, tmp_path):
    artifact = built(stage(weights), engine(), tmp_path / "s0")
    assert artifact.files == (("stage.so", "weights.bin") if weights else ("stage.so",))
    assert artifact.host_run == "measured"
    assert [weight["name"] for weight in artifact.options["weights"]] == list(weights)
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    expected = x @ np.arange(10, dtype=np.float32).reshape(5, 2) + np.array([1, -1], np.float32)
    np.testing.assert_allclose(run(artifact, x), expected, rtol=1e-5)


def test_weights_lie_aligned_in_their_file_with_their_own_bytes(tmp_path):
    artifact = built(stage(), engine(), tmp_path)
    data = (tmp_path / "weights.bin").read_bytes()
    w, b = artifact.options["weights"]
    assert w["offset"] % backend.ALIGNMENT == b["offset"] % backend.ALIGNMENT == 0
    assert data[w["offset"] :][: w["nbytes"]] == np.arange(10, dtype=np.float32).tobytes()
    assert data[b["offset"] :][: b["nbytes"]] == np.array([1, -1], np.float32).tobytes()
    assert (b["dtype"], b["shape"]) == ("float32", [2])


def test_code_for_another_architecture_is_made_and_said_not_to_run_here(tmp_path):
    triple, number = ("aarch64-linux-gnu", 183)
    if platform.machine() == "aarch64":
        triple, number = ("x86_64-linux-gnu", 62)
    artifact = built(stage(), engine(triple), tmp_path)
    assert artifact.host_run is None
    assert artifact.options["triple"] == triple
    header = (tmp_path / "stage.so").read_bytes()[:20]
    assert int.from_bytes(header[18:20], "little") == number  # e_machine of the ELF header


def test_a_target_has_the_engines_triple_and_its_number_of_cores():
    target = BACKEND.target(engine(cores=(2, 3)))
    assert str(target.attrs["mtriple"]) == f"{platform.machine()}-unknown-linux-gnu"
    assert int(target.attrs["num-cores"]) == 2
    assert int(BACKEND.target(engine()).attrs["num-cores"]) == 1


def test_features_of_an_engine_reach_its_target():
    on = replace(
        engine("aarch64-linux-gnu"),
        llvm_target={"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76", "mattr": ("+dotprod",)},
    )
    target = BACKEND.target(on)
    assert str(target.attrs["mcpu"]) == "cortex-a76"
    assert [str(word) for word in target.attrs["mattr"]] == ["+dotprod"]


def test_a_module_tvm_cannot_build_is_a_build_error_naming_the_stage(tmp_path):
    import tvm
    from tvm import relax

    x = relax.Var("x", relax.TensorType([3], "float32"))
    nowhere = relax.Call(relax.GlobalVar("nowhere"), [x])
    main = relax.Function([x], nowhere, relax.TensorType([3], "float32"))
    module = tvm.IRModule({"main": main.with_attr("global_symbol", "main")})
    with pytest.raises(BuildError, match="s0: TVM cannot build it"):
        BACKEND.build(stage(()), module, engine(), tmp_path)


def test_a_failing_linker_is_a_build_error_with_its_first_line(tmp_path):
    with pytest.raises(BuildError, match=r"s0: the linker failed \(.*missing\.o"):
        backend._link("s0", str(tmp_path / "stage.so"), [str(tmp_path / "missing.o")])


def test_the_fingerprint_names_the_versions_that_decide_the_code():
    assert f"apache-tvm {version('apache-tvm')}" in BACKEND.fingerprint()
    assert f"apache-tvm-ffi {version('apache-tvm-ffi')}" in BACKEND.fingerprint()
