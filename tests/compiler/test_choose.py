from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeweave.compiler.choose import choose, stage_of
from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.regions import find_regions
from edgeweave.compiler.split import cut_stage
from edgeweave.targets.backend import Slot
from edgeweave.targets.host import detect_host

SIMPLE = "g (float[4] x) => (float[4] y) { y = Softmax(x) }"
# TVM's importer drops the second output.
WRONG = """g (float[2,3] x, float[3] s) => (float[2,3] y, float[2,1] m) {
    y, m = LayerNormalization(x, s)
}"""
UNBUILDABLE = "g (float[4] x, int64[1] a) => (float[1] y) { y = ReduceSum(x, a) }"


@pytest.fixture(scope="module")
def engine(cache_folder):
    return detect_host(cache_folder).engines[0]


@pytest.fixture
def source(canonical, engine):
    def cut(text, backend="cpu"):
        regions = find_regions(canonical(text))
        members = range(len(regions.graph.regions))
        return cut_stage(regions, "s0", Slot(engine.name, backend), members)

    return cut


def test_the_faster_of_two_sound_backends_is_kept(source, engine, tmp_path):
    artifact, choice = choose(source(SIMPLE), engine, ("cpu", "onnxruntime"), tmp_path, timed=True)
    seconds = {c.slot.backend: c.seconds for c in choice.candidates}
    assert set(seconds) == {"cpu", "onnxruntime"}
    assert choice.seconds == min(seconds.values())
    assert choice.seconds == seconds[choice.slot.backend]
    assert artifact.folder == tmp_path / choice.slot.backend
    assert choice.planned == Slot(engine.name, "cpu")


def test_a_backend_whose_outputs_differ_is_out_and_the_reason_is_kept(source, engine, tmp_path):
    artifact, choice = choose(source(WRONG), engine, ("cpu", "onnxruntime"), tmp_path, timed=True)
    assert (choice.slot.backend, artifact.kind) == ("onnxruntime", "onnxruntime")
    assert "float32[]" in choice.candidates[0].fault


def test_another_backend_of_the_engine_steps_in_when_the_given_ones_fail(source, engine, tmp_path):
    _, choice = choose(source(WRONG), engine, ("cpu",), tmp_path, timed=True)
    assert choice.slot.backend == "onnxruntime"
    _, choice = choose(source(UNBUILDABLE), engine, ("cpu",), tmp_path, timed=True)
    assert choice.slot.backend == "onnxruntime"
    assert "constant axes" in choice.candidates[0].fault


def test_without_timing_the_first_backend_is_taken(source, engine, tmp_path):
    _, choice = choose(source(SIMPLE), engine, ("cpu", "onnxruntime"), tmp_path, timed=False)
    assert choice.slot.backend == "cpu"
    assert choice.seconds is None
    assert len(choice.candidates) == 1


def test_the_first_error_is_raised_when_nothing_can_be_built(source, engine, tmp_path):
    alone = replace(engine, backends=("cpu",))
    with pytest.raises(CompileError, match="constant axes"):
        choose(source(UNBUILDABLE), alone, ("cpu",), tmp_path, timed=True)


def test_an_engine_with_wrong_code_only_is_an_error_naming_the_stage(source, engine, tmp_path):
    alone = replace(engine, backends=("cpu",))
    with pytest.raises(Exception, match=r"s0: .*float32\[\].*fault of edgeweave"):
        choose(source(WRONG), alone, ("cpu",), tmp_path, timed=True)


def test_the_model_beside_an_artifact_reads_the_artifacts_weights(source, engine, tmp_path):
    text = """g (float[2,3] x) => (float[2,3] y) <float[3,3] w = {1,2,3,4,5,6,7,8,9}> {
        y = MatMul(x, w)
    }"""
    made = source(text)
    artifact, _ = choose(made, engine, ("cpu",), tmp_path, timed=False)
    built = stage_of(made.stage, engine, artifact)
    (artifact.folder / "stage.onnx").write_bytes(built.model)
    loaded = onnx.load(artifact.folder / "stage.onnx")
    (weight,) = loaded.graph.initializer
    np.testing.assert_array_equal(
        numpy_helper.to_array(weight), np.arange(1, 10, dtype=np.float32).reshape(3, 3)
    )
    assert built.cores == engine.cores


def test_what_cannot_run_here_is_pinned_where_it_can(source, engine, tmp_path):
    made = source("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    foreign = replace(
        engine, cores=(4, 5), llvm_target={"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a53"}
    )
    artifact, _ = choose(made, foreign, ("cpu",), tmp_path, timed=False)
    assert artifact.host_run is None
    assert stage_of(made.stage, foreign, artifact).cores == (4, 5)
    assert stage_of(made.stage, foreign, replace(artifact, host_run="emulated")).cores == ()
