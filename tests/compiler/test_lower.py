import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.pack import BuiltStage, stage_entry
from edgeweave.compiler.regions import find_regions
from edgeweave.compiler.split import cut_stage
from edgeweave.runtime.runners import find_loader
from edgeweave.targets.backend import Slot
from edgeweave.targets.host import detect_host

SLOT = Slot("cpu0", "cpu")


@pytest.fixture(scope="module")
def engine(cache_folder):
    return detect_host(cache_folder).engines[0]


def run_stage(source, engine, folder: Path, values):
    """Build a stage with TVM and run it; its outputs by name."""
    stage = source.stage
    artifact = build_stage(source, engine, folder)
    built = BuiltStage("s", SLOT, (), stage.inputs, stage.outputs, 0.0, artifact, b"")
    entry = stage_entry(built)

    def once():
        runner = find_loader(entry, {})(entry, folder, ())
        try:
            results = runner.run([values[spec.name] for spec in stage.inputs])
            return [np.array(result) for result in results]
        finally:
            runner.close()

    with ThreadPoolExecutor(1) as pool:  # a runner pins the thread it is opened in
        results = pool.submit(once).result()
    return dict(zip((spec.name for spec in stage.outputs), results, strict=True))


def whole(model):
    regions = find_regions(model)
    return cut_stage(regions, "s0", SLOT, range(len(regions.graph.regions)))


def check(model, engine, folder, feeds, run_onnx, rtol=1e-5):
    results = run_stage(whole(model), engine, folder, feeds)
    for name, wanted in run_onnx(model.original, feeds).items():
        assert results[name].dtype == wanted.dtype
        np.testing.assert_allclose(results[name], wanted, rtol=rtol, atol=rtol, err_msg=name)


def test_a_stage_of_equal_regions_uses_each_ones_own_weights(canonical, engine, tmp_path, run_onnx):
    from edgeweave.compiler.lower import StageBorder, lower_stage
    from edgeweave.targets.cpu import BACKEND

    text = """g (float[2,3] x) => (float[2,3] y)
        <float[3,3] a = {1,2,3,4,5,6,7,8,9}, float[3,3] b = {9,8,7,6,5,4,3,2,1}> {
        p = MatMul(x, a)
        y = MatMul(p, b)
    }"""
    model = canonical(text)
    source = whole(model)
    assert source.parts[0].digest == source.parts[1].digest
    lowered = lower_stage(source.parts, StageBorder.of(source.stage), BACKEND.target(engine))
    assert len([f for f in lowered.functions.values() if "Prim" in type(f).__name__]) == 1
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    check(model, engine, tmp_path, {"x": x}, run_onnx)


def test_an_output_used_further_on_and_a_side_input_reach_their_places(
    canonical, engine, tmp_path, run_onnx
):
    text = """g (float[4] x, float[4] z) => (float[4] a, float[4] y) {
        a = Softmax(x)
        b = Softmax(z)
        y = Sub(b, a)
    }"""
    feeds = {"x": np.arange(4, dtype=np.float32), "z": np.ones(4, np.float32)}
    check(canonical(text), engine, tmp_path, feeds, run_onnx)


def test_a_region_with_several_outputs_returns_them_in_order(canonical, engine, tmp_path, run_onnx):
    text = """g (float[6] x) => (float[2] v, int64[2] i) <int64[1] k = {2}> {
        v, i = TopK(x, k)
    }"""
    feeds = {"x": np.array([3, 1, 4, 1.5, 9, 2], np.float32)}
    check(canonical(text), engine, tmp_path, feeds, run_onnx)


@pytest.mark.parametrize("body", ["y = Identity(x)", "y = Reshape(x, s)", "y = CastLike(x, x)"])
def test_a_stage_without_any_arithmetic_is_built_and_run(
    body, canonical, engine, tmp_path, run_onnx
):
    text = f"g (float[2,3] x) => (float[2,3] y) <int64[2] s = {{2, 3}}> {{ {body} }}"
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    check(canonical(text), engine, tmp_path, {"x": x}, run_onnx)


def test_the_shape_of_a_value_comes_as_a_tensor(canonical, engine, tmp_path, run_onnx):
    text = "g (float[2,3] x) => (int64[2] y) { y = Shape(x) }"
    feeds = {"x": np.zeros((2, 3), np.float32)}
    check(canonical(text), engine, tmp_path, feeds, run_onnx)


@pytest.mark.parametrize("operator", ["Softplus", "Mish"])
def test_softplus_and_mish_keep_their_precision_far_below_zero(
    operator, canonical, engine, tmp_path
):
    text = f"g (float[1000] x) => (float[1000] y) {{ y = {operator}(x) }}"
    x = np.linspace(-30, 100, 1000).astype(np.float32)
    result = run_stage(whole(canonical(text)), engine, tmp_path, {"x": x})["y"]
    softplus = np.logaddexp(0, x.astype(np.float64))
    wanted = softplus if operator == "Softplus" else x * np.tanh(softplus)
    np.testing.assert_allclose(result, wanted, rtol=1e-5)


def test_half_precision_sums_are_rounded_once(canonical, engine, tmp_path):
    text = "g (float16[1,300] x, float16[300,8] w) => (float16[1,8] y) { y = MatMul(x, w) }"
    generator = np.random.default_rng(0)
    x = generator.random((1, 300)).astype(np.float16)
    w = generator.random((300, 8)).astype(np.float16)
    result = run_stage(whole(canonical(text)), engine, tmp_path, {"x": x, "w": w})["y"]
    wanted = (x.astype(np.float64) @ w.astype(np.float64)).astype(np.float16)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, wanted, rtol=2**-10)


def test_a_region_tvm_cannot_import_is_a_compile_error_with_tvms_reason(canonical, engine):
    from edgeweave.compiler.lower import lower_region
    from edgeweave.targets.cpu import BACKEND

    text = "g (float[4] x, int64[1] axis) => (float[1] y) { y = ReduceSum(x, axis) }"
    (region,) = find_regions(canonical(text)).models
    with pytest.raises(CompileError, match=r"region [0-9a-f]{12}: TVM: .*constant axes"):
        lower_region(region, BACKEND.target(engine))


@given(data=st.data())
@settings(max_examples=6, deadline=None, derandomize=True)
def test_stages_stitched_from_regions_compute_what_onnx_runtime_computes(
    data, dags, canonical_proto, engine, run_onnx, frame, tmp_path_factory
):
    model = canonical_proto(data.draw(dags(most_nodes=8)))
    regions = find_regions(model)
    count = len(regions.graph.regions)
    cuts = sorted(data.draw(st.sets(st.integers(1, count), max_size=1)) | {0, count})
    values = dict(frame)
    for index, (begin, end) in enumerate(itertools.pairwise(cuts)):
        source = cut_stage(regions, f"s{index}", SLOT, range(begin, end))
        values |= run_stage(source, engine, tmp_path_factory.mktemp("stage"), values)
    for name, wanted in run_onnx(model.original, frame).items():
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(values[name], wanted, rtol=1e-4, atol=1e-5 * scale)
