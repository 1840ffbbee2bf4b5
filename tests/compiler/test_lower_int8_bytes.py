"""Quantised regions that move, compare or look up bytes, against ONNX Runtime."""

import numpy as np
import onnx.parser
import pytest

from edgeweave.compiler.integer.unary import find_unary
from edgeweave.compiler.lower import lower_region
from edgeweave.compiler.regions import find_regions

tvm = pytest.importorskip("tvm")
HEADER = '<ir_version: 10, opset_import: ["": {opset}]>\n'


@pytest.fixture(scope="module")
def check(canonical_proto, cache_folder):
    """Lower a region of one operator, run it, and compare it with ONNX Runtime."""
    import onnxruntime
    from tvm import relax

    from edgeweave.targets.cpu import BACKEND
    from edgeweave.targets.host import detect_host

    target = BACKEND.target(detect_host(cache_folder).engines[0])

    def run(body, shape, out, *, bytes_=True, off=0, dtype="int8", scale=0.05, more="", opset=18):
        """``scale`` is the result's, the operand's is 0.05; ``off`` is how far it may be."""
        zero = {"int8": -5, "uint8": 130}[dtype]
        result = zero if scale == 0.05 else np.iinfo(dtype).min
        text = HEADER.format(opset=opset) + (
            f"g ({dtype}{shape} x) => ({dtype}{out} y) <float s = {{0.05}}, float t = {{{scale}}}, "
            f"{dtype} z = {{{zero}}}, {dtype} o = {{{result}}} {more}> {{ "
            f"a = DequantizeLinear(x, s, z)\n b = {body}\n y = QuantizeLinear(b, t, o) }}"
        )
        model = onnx.parser.parse_model(text)
        (region,) = find_regions(canonical_proto(model)).models
        lowered = lower_region(region, target)
        assert ("int8" in [name.name_hint for name in lowered.functions]) == bytes_
        if not bytes_:
            return
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        x = np.random.default_rng(1).integers(low, high, shape, endpoint=True).astype(dtype)
        built = relax.build(lowered, target, relax_pipeline=relax.get_pipeline("default"))
        got = relax.VirtualMachine(built, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()
        options = onnxruntime.SessionOptions()
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_DISABLE_ALL  # as it is written
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        wanted = session.run(None, {"x": x})[0]
        assert got.dtype == wanted.dtype
        gap = np.abs(got.astype(int) - wanted.astype(int))
        assert gap.max() <= off
        assert np.mean(gap > 0) <= 0.02

    return run


POOL = "MaxPool<kernel_shape = {kernel}, strides = {strides}, pads = {pads}{more}>(a)"
POOLS = {
    "plain": ([2, 2], [2, 2], [0, 0, 0, 0], "", [2, 3, 9, 70], [2, 3, 4, 35]),
    "padded": ([3, 3], [2, 2], [1, 1, 1, 1], "", [1, 4, 11, 23], [1, 4, 6, 12]),
    "narrow": ([3, 2], [1, 1], [0, 1, 2, 0], "", [1, 2, 5, 3], [1, 2, 5, 3]),
    "dilated": ([2, 3], [1, 3], [0, 2, 0, 0], ", dilations = [3, 2]", [1, 2, 8, 40], [1, 2, 5, 13]),
    "rounded up": ([3, 3], [2, 2], [0, 0, 0, 0], ", ceil_mode = 1", [1, 3, 8, 30], [1, 3, 4, 15]),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_maximum_is_one_of_bytes(name, check):
    kernel, strides, pads, more, shape, out = POOLS[name]
    dtype = "uint8" if name == "padded" else "int8"
    check(
        POOL.format(kernel=kernel, strides=strides, pads=pads, more=more), shape, out, dtype=dtype
    )


def test_a_maximum_along_a_line(check):
    check("MaxPool<kernel_shape = [4], strides = [4]>(a)", [2, 3, 50], [2, 3, 12])


@pytest.mark.parametrize(
    ("order", "shape"),
    [
        ([0, 2, 1], [2, 37, 50]),
        ([1, 0], [3, 100]),
        ([0, 2, 3, 1], [1, 6, 5, 7]),
        ([0, 3, 1, 2], [2, 4, 9, 5]),
        ([3, 0, 1, 2], [1, 40, 1, 33]),
    ],
)
def test_axes_that_change_places_move_bytes(order, shape, check):
    check(f"Transpose<perm = {order}>(a)", shape, [shape[axis] for axis in order])


def test_a_value_around_an_image(check):
    pads = ", int64[8] p = {0,0,2,1,0,0,0,33}"
    check("Pad(a, p)", [1, 3, 5, 20], [1, 3, 7, 54], more=pads)
    more = pads + ", float v = {0.26}"
    check("Pad(a, p, v)", [2, 3, 5, 3], [2, 3, 7, 37], more=more, dtype="uint8")


@pytest.mark.parametrize("shape", [[2, 3, 70], [5, 2], [1, 1000], [3, 16], [4, 1]])
def test_a_softmax_of_rows(shape, check):
    check("Softmax<axis = -1>(a)", shape, shape, off=1, scale=0.00390625)


def test_a_softmax_of_uint8_in_an_old_operator_set(check):
    check("Softmax<axis = 1>(a)", [4, 30], [4, 30], off=1, scale=0.004, dtype="uint8", opset=11)


LEFT = {
    "maximum of another scale": ("MaxPool<kernel_shape = [2]>(a)", [1, 2, 9], [1, 2, 8], 0.04),
    "places of three axes": ("Transpose<perm = [2, 1, 0]>(a)", [2, 3, 4], [4, 3, 2], 0.05),
    "no places at all": ("Transpose<perm = [0, 1]>(a)", [2, 3], [2, 3], 0.05),
    "softmax along the first axis": ("Softmax<axis = 0>(a)", [3, 4], [3, 4], 0.004),
    "reflection": ('Pad<mode = "reflect">(a, p)', [1, 3, 5, 6], [1, 3, 7, 8], 0.05),
    "padded channels": ("Pad(a, q)", [1, 3, 5, 6], [1, 5, 5, 6], 0.05),
}


@pytest.mark.parametrize("name", LEFT)
def test_other_forms_are_left_to_the_importer(name, check):
    body, shape, out, scale = LEFT[name]
    more = ", int64[8] p = {0,0,1,1,0,0,1,1}, int64[8] q = {0,1,0,0,0,1,0,0}"
    check(body, shape, out, bytes_=False, scale=scale, more=more if "Pad" in body else "")


def test_a_region_of_two_operators_is_none_of_bytes(canonical):
    text = """g (int8[2,3] x) => (int8[3,2] y) <float s = {0.05}, int8 z = {0}> {
        a = DequantizeLinear(x, s, z)
        b = Transpose(a)
        c = Neg(b)
        y = QuantizeLinear(c, s, z)
    }"""
    (region,) = find_regions(canonical(text)).models
    assert find_unary(region.proto) is None


NETWORK = """g (int8[1,3,9,20] x) => (int8[1,50,4] y)
    <float s = {0.05}, int8 z = {3}, float t = {0.00390625}, int8 o = {-128},
     float p = {0.01}, int8 q = {0}, int8[4,3,1,1] w = {1,-2,3,4,5,-6,7,8,9,-10,11,12},
     int64[8] around = {0,0,1,0,0,0,0,0}, int64[3] shape = {1,4,50}> {
    a1 = DequantizeLinear(x, s, z)
    a2 = DequantizeLinear(w, p, q)
    a3 = Conv(a1, a2)
    a = QuantizeLinear(a3, s, z)
    b1 = DequantizeLinear(a, s, z)
    b2 = Pad(b1, around)
    b = QuantizeLinear(b2, s, z)
    c1 = DequantizeLinear(b, s, z)
    c2 = MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 0>(c1)
    c = QuantizeLinear(c2, s, z)
    d1 = DequantizeLinear(c, s, z)
    d2 = Reshape(d1, shape)
    d = QuantizeLinear(d2, s, z)
    e1 = DequantizeLinear(d, s, z)
    e2 = Transpose<perm = [0, 2, 1]>(e1)
    e = QuantizeLinear(e2, s, z)
    f1 = DequantizeLinear(e, s, z)
    f2 = Softmax<axis = -1>(f1)
    y = QuantizeLinear(f2, t, o)
}"""


def test_every_region_of_a_network_is_built_into_a_stage_and_equal(canonical, cache_folder):
    from concurrent.futures import ThreadPoolExecutor

    from edgeweave.compiler.check_region import CheckTask, Verdict, check_region
    from edgeweave.targets.host import detect_host

    engine = detect_host(cache_folder).engines[0]
    regions = find_regions(canonical(NETWORK))
    assert [region.operators[-2].type for region in regions.graph.regions] == [
        "Conv", "Pad", "MaxPool", "Reshape", "Transpose", "Softmax",
    ]  # fmt: skip
    with ThreadPoolExecutor(1) as pool:  # runners pin the thread they are opened in
        for region, model in zip(regions.graph.regions, regions.models, strict=True):
            task = CheckTask(region, model, engine, ("cpu",), timed=False)
            (result,) = pool.submit(check_region, task).result()
            assert (result.verdict, result.detail) == (Verdict.EQUAL, "")
