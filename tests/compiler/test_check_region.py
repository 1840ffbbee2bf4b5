import numpy as np
import pytest

from edgeweave.compiler.check_region import (
    CheckTask,
    Verdict,
    check_region,
    random_weights,
    reference_samples,
)
from edgeweave.compiler.regions import find_regions
from edgeweave.targets.host import detect_host


@pytest.fixture(scope="module")
def check(canonical, cache_folder):
    """Check the first region of a graph through the backends, in a thread of its own."""
    from concurrent.futures import ThreadPoolExecutor

    engine = detect_host(cache_folder).engines[0]

    def run(text, backends=("cpu",), timed=False):
        regions = find_regions(canonical(text))
        task = CheckTask(regions.graph.regions[0], regions.models[0], engine, backends, timed)
        with ThreadPoolExecutor(1) as pool:  # runners pin the thread they are opened in
            return pool.submit(check_region, task).result()

    return run


CONV = """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
    <float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] b = {1,2,3,4}> {
    a = Conv(x, w, b)
    y = Relu(a)
}"""


def test_right_code_is_equal_and_timed_on_request(check):
    for result in check(CONV, ("cpu", "onnxruntime"), timed=True):
        assert (result.verdict, result.detail) == (Verdict.EQUAL, "")
        assert result.timing is not None
        assert result.timing.seconds > 0


def test_the_largest_of_a_masked_row_is_minus_infinity_in_our_code_too(check):
    (result,) = check("g (float[2,3] x) => (float[1,1] y) { y = ReduceMax(x) }")
    assert (result.verdict, result.detail) == (Verdict.EQUAL, "")


def test_code_is_not_timed_unless_asked(check):
    (result,) = check(CONV)
    assert result.timing is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        # the importer drops the optional outputs
        (
            """g (float[2,3] x, float[3] s) => (float[2,3] y, float[2,1] m) {
                y, m = LayerNormalization(x, s)
            }""",
            "float32[]",
        ),
        ("g (float[4] x) => (bool[4] y) { y = IsInf <detect_negative = 0> (x) }", "differ"),
    ],
)
def test_an_operator_that_tvm_converts_wrongly_is_found(text, word, check):
    (result,) = check(text)
    assert result.verdict is Verdict.DIFFERENT
    assert word in result.detail


def test_a_region_tvm_cannot_import_is_unbuildable_with_its_reason(check):
    (result,) = check("g (float[4] x, int64[1] a) => (float[1] y) { y = ReduceSum(x, a) }")
    assert result.verdict is Verdict.UNBUILDABLE
    assert "constant axes" in result.detail


def test_a_region_without_numbers_to_compare_is_unverified(check):
    (result,) = check(
        """g (float[4] x) => (float[4] y) {
            a = Abs(x)
            b = Neg(a)
            c = Log(b)
            y = Sqrt(c)
        }"""
    )
    assert result.verdict is Verdict.UNVERIFIED


def test_a_region_that_onnx_runtime_does_not_open_alone_is_unbuildable(check):
    text = "g (float[4] x) => (float[4] y) { y = com.microsoft.Nothing(x) }"
    (result,) = check(text, ("onnxruntime",), timed=True)
    assert result.verdict is Verdict.UNBUILDABLE
    assert result.timing is None


def test_samples_are_of_several_ranges_and_fit_the_model(canonical):
    samples = reference_samples(canonical(CONV).original)
    assert len({sample.style for sample in samples}) == len(samples) >= 3
    for sample in samples:
        assert sample.inputs[0].shape == (1, 3, 8, 8)
        assert sample.outputs[0].shape == (1, 4, 8, 8)
    assert len(reference_samples(canonical(CONV).original, limit=1)) == 1


def test_samples_that_onnx_runtime_refuses_are_left_out(canonical):
    text = "g (float[4] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }"
    samples = reference_samples(canonical(text).original)
    assert {sample.style for sample in samples} <= {"normal", "unit", "small-ints"}
    assert "unit" in {sample.style for sample in samples}


def test_operators_on_infinities_are_shown_some(canonical):
    text = "g (float[8] x) => (float[8] y) { y = Softmax(x) }"
    samples = reference_samples(canonical(text).original, {"Softmax"})
    masked = {sample.style: np.isneginf(sample.inputs[0]).sum() for sample in samples}
    assert masked["partly masked"] == 4
    assert masked["masked"] == 8
    assert masked["normal"] == 0


def test_a_model_with_an_input_of_unknown_type_has_no_samples(canonical):
    model = canonical("g (float[4] x) => (float[4] y) { y = Neg(x) }").original
    model.graph.input[0].ClearField("type")
    assert reference_samples(model) == []


def test_random_vectors_are_positive_since_some_are_variances(canonical):
    text = "g (float[4] v, float[4,4] m) => (float[4,4] y) { y = Mul(v, m) }"
    weights = random_weights(list(canonical(text).original.graph.input))
    assert (weights["v"] >= 0).all()
    assert (weights["m"] < 0).any()
