from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

INF = np.inf
TWINLITENET = Path(__file__).resolve().parents[3] / "shared/models/twinlitenet.onnx"
ROWS = [
    [-INF, -INF, -INF, -INF],
    [INF, INF, INF, INF],
    [-INF, 1, 2, -INF],
    [1, 2, INF, -INF],
    [3, -INF, 4, 4],
    [-4, -3, -3, -4],
]
FLOATS = {"float": np.float32, "float16": np.float16, "double": np.float64}


@pytest.fixture(scope="module")
def target(cache_folder):
    from edgeweave.targets.cpu import BACKEND
    from edgeweave.targets.host import detect_host

    return BACKEND.target(detect_host(cache_folder).engines[0])


@pytest.fixture(scope="module")
def compare(canonical, target):
    """Lower, schedule and run a graph of one input, and compare it with ONNX Runtime."""
    import tvm
    from tvm import relax

    from edgeweave.compiler.lower import lower_region
    from edgeweave.compiler.regions import find_regions
    from edgeweave.schedules.apply import apply_schedules

    def run(text, x):
        model = canonical(text)
        (region,) = find_regions(model).models
        kernels = apply_schedules(lower_region(region, target), target)
        built = relax.build(kernels, target, relax_pipeline=relax.get_pipeline("default"))
        weights = [
            tvm.runtime.tensor(onnx.numpy_helper.to_array(tensor))
            for name in region.weights
            for tensor in model.proto.graph.initializer
            if tensor.name == name
        ]
        found = relax.VirtualMachine(built, tvm.cpu())["main"](tvm.runtime.tensor(x), *weights)
        session = onnxruntime.InferenceSession(
            model.original.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        results = [found] if isinstance(found, tvm.runtime.Tensor) else list(found)
        for result, wanted in zip(results, session.run(None, {"x": x}), strict=True):
            assert result.numpy().dtype == wanted.dtype
            rtol = 16 * float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 0.0
            np.testing.assert_allclose(result.numpy(), wanted, rtol=rtol, equal_nan=True)

    return run


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize(
    "body",
    [
        "y = ReduceMax <keepdims = 0> (x, a)",
        "y = ReduceMin <keepdims = 0> (x, a)",
        "y = ReduceLogSumExp <keepdims = 0> (x, a)",
    ],
)
def test_reductions_of_infinities_are_onnx_runtimes(kind, body, compare):
    text = f"g ({kind}[6,4] x) => ({kind}[6] y) <int64[1] a = {{1}}> {{ {body} }}"
    compare(text, np.array(ROWS, FLOATS[kind]))


@pytest.mark.parametrize("axes", ["", "int64[1] a = {-1}", "int64[2] a = {0, 1}"])
@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceLogSumExp"])
def test_axes_may_be_left_out_or_counted_from_the_end(operator, axes, compare):
    shape = "6,1" if "-1" in axes else "1,1"
    weights, given = (f"<{axes}>", "x, a") if axes else ("", "x")
    text = f"g (float[6,4] x) => (float[{shape}] y) {weights} {{ y = {operator}({given}) }}"
    compare(text, np.array(ROWS, np.float32))
    compare(text, np.full((6, 4), -INF, np.float32))


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceLogSumExp"])
def test_a_reduction_over_no_axes_returns_its_input(operator, compare):
    body = f"y = {operator} <noop_with_empty_axes = 1> (x)"
    compare(f"g (float[6,4] x) => (float[6,4] y) {{ {body} }}", np.array(ROWS, np.float32))


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_places_of_the_extremes_exist_where_all_are_infinite(kind, operator, last, compare):
    attributes = f"<axis = 1, keepdims = 0, select_last_index = {last}>"
    text = f"g ({kind}[6,4] x) => (int64[6] y) {{ y = {operator} {attributes} (x) }}"
    compare(text, np.array(ROWS, FLOATS[kind]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_places_exist_where_all_integers_are_the_outermost(dtype, operator, last, compare):
    attributes = f"<axis = 1, keepdims = 0, select_last_index = {last}>"
    text = f"g ({dtype}[2,4] x) => (int64[2] y) {{ y = {operator} {attributes} (x) }}"
    limits = np.iinfo(dtype)
    compare(text, np.array([[limits.min] * 4, [limits.max] * 4], dtype))


# ONNX Runtime's LogSoftmax in double precision returns numbers for rows of infinities
@pytest.mark.parametrize("kind", ["float", "float16"])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_softmax_of_masked_rows_stays_onnx_runtimes(kind, operator, compare):
    text = f"g ({kind}[6,4] x) => ({kind}[6,4] y) {{ y = {operator} <axis = 1> (x) }}"
    compare(text, np.array(ROWS, FLOATS[kind]))


@pytest.mark.parametrize("kind", ["float", "float16"])
def test_hardmax_of_masked_rows_marks_their_first_element(kind, compare):
    text = f"g ({kind}[6,4] x) => ({kind}[6,4] y) {{ y = Hardmax <axis = 1> (x) }}"
    compare(text, np.array(ROWS, FLOATS[kind]))


@pytest.mark.parametrize("largest", [0, 1])
def test_the_best_of_masked_rows_stay_onnx_runtimes(largest, compare):
    text = f"""g (float[6,4] x) => (float[6,2] y, int64[6,2] i) <int64[1] k = {{2}}> {{
        y, i = TopK <axis = 1, largest = {largest}> (x, k)
    }}"""
    compare(text, np.array(ROWS, np.float32))


@pytest.mark.parametrize("kind", FLOATS)
def test_pooling_of_masked_windows_is_minus_infinity(kind, compare):
    text = f"""g ({kind}[1,1,6,4] x) => ({kind}[1,1,3,2] y) {{
        y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
    }}"""
    x = np.array(ROWS, FLOATS[kind])
    x[:2] = -INF
    compare(text, x.reshape(1, 1, 6, 4))


def test_padding_never_wins_a_window_with_numbers(compare):
    text = """g (float[1,1,6,4] x) => (float[1,1,6,4] y) {
        y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)
    }"""
    x = -np.arange(24, dtype=np.float32) - 1e30
    compare(text, x.reshape(1, 1, 6, 4))


def test_the_largest_of_one_half_precision_window_is_its_own(compare):
    text = "g (float16[1,2,3,2] x) => (float16[1,2,1,1] y) { y = GlobalMaxPool(x) }"
    x = np.array([-INF] * 6 + [-INF, -65504, -INF, -INF, -1, -2], np.float16)
    compare(text, x.reshape(1, 2, 3, 2))


def test_other_reductions_and_integers_are_left_alone():
    import tvm
    import tvm_ffi
    from tvm import relax

    from edgeweave.compiler.reductions import start_beyond_all

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([2, 8], "float32"))
    n = relax.Var("n", relax.TensorType([2, 8], "int32"))
    with builder.function("main", [x, n]):
        results = [
            builder.emit(call)
            for call in (
                relax.op.sum(x, 1),
                relax.op.prod(x, 1),
                relax.op.max(n, 1),
                # the lowest finite number of a mask is no start of a reduction
                relax.op.where(
                    relax.op.greater(x, relax.const(0, "float32")),
                    x,
                    relax.const(np.finfo(np.float32).min, "float32"),
                ),
            )
        ]
        builder.emit_func_output(relax.Tuple(results))
    with tvm.target.Target("llvm"):
        module = relax.get_pipeline("zero")(builder.get())
    assert tvm_ffi.structural_equal(start_beyond_all(module), module)


@pytest.mark.long
@pytest.mark.skipif(not TWINLITENET.exists(), reason="the model is not here")
def test_twinlitenets_attention_and_heads_are_right_through_tvm(cache_folder):
    from edgeweave.compiler.check_region import CheckTask, Verdict
    from edgeweave.compiler.check_worker import CheckWorker
    from edgeweave.compiler.frontend import load_model
    from edgeweave.compiler.regions import find_regions
    from edgeweave.targets.host import detect_host

    engine = detect_host(cache_folder).engines[0]
    regions = find_regions(load_model(TWINLITENET))
    tasks = [
        CheckTask(region, model, engine, ("cpu",), timed=False)
        for region, model in zip(regions.graph.regions, regions.models, strict=True)
        if {operator.type for operator in region.operators} & {"ReduceMax", "Softmax", "MatMul"}
    ]
    assert any("ReduceMax" in {op.type for op in task.region.operators} for task in tasks)
    with CheckWorker() as worker:
        for task in tasks:
            assert [result.verdict for result in worker.check(task)] == [Verdict.EQUAL]
