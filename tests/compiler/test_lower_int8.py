"""Quantised regions as integer kernels, against ONNX Runtime."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeweave.compiler.integer.layer import find_layer
from edgeweave.compiler.lower import lower_region
from edgeweave.compiler.regions import find_regions

tvm = pytest.importorskip("tvm")

KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


@dataclass
class Quantised:
    """Builds a graph of one operator between DequantizeLinear and QuantizeLinear."""

    operator: str
    attributes: dict = field(default_factory=dict)
    seed: int = 0
    opset: int = 18

    def __post_init__(self):
        self.random = np.random.default_rng(self.seed)
        self.nodes, self.constants, self.inputs, self.operands = [], [], [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def dequantise(self, name, scale, zero, **attributes):
        names = [name, self.constant(f"{name}s", scale), self.constant(f"{name}z", zero)]
        self.nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}f"], **attributes))
        self.operands.append(f"{name}f")

    def activation(self, name, shape, dtype, scale=0.02):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        zero = self.random.integers(low, high, endpoint=True).astype(dtype)
        self.dequantise(name, np.float32(scale), zero)
        self.inputs.append(helper.make_tensor_value_info(name, KINDS[dtype], shape))
        self.scale = np.float32(scale)

    def weights(self, shape, axis=None, dtype="int8", zero=0):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        values = self.random.integers(max(low, -127), high, shape, endpoint=True).astype(dtype)
        count = () if axis is None else shape[axis]
        scales = np.asarray(self.random.random(count) * 0.008 + 0.002, np.float32)
        more = {} if axis is None else {"axis": axis}
        zeros = np.full(count, zero, dtype)
        self.dequantise(self.constant("w", values), scales, zeros, **more)
        self.weight_scales = scales

    def bias(self, count):
        values = self.random.integers(-4000, 4000, count).astype(np.int32)
        scales = np.broadcast_to(self.scale * self.weight_scales, (count,)).astype(np.float32)
        self.dequantise(self.constant("b", values), scales, np.zeros(count, np.int32), axis=0)

    def model(self, shape, dtype, spread, tail=()):
        """The model; ``spread`` is about how many sums' steps one step of the result is."""
        self.nodes.append(helper.make_node(self.operator, self.operands, ["t0"], **self.attributes))
        for place, (kind, *bounds) in enumerate(tail):
            names = [self.constant(f"c{place}{n}", np.float32(v)) for n, v in enumerate(bounds)]
            self.nodes.append(helper.make_node(kind, [f"t{place}", *names], [f"t{place + 1}"]))
        zero = self.random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, endpoint=True)
        scale = self.constant("ys", np.float32(spread))
        names = [f"t{len(tail)}", scale, self.constant("yz", zero.astype(dtype))]
        self.nodes.append(helper.make_node("QuantizeLinear", names, ["y"]))
        output = helper.make_tensor_value_info("y", KINDS[dtype], shape)
        graph = helper.make_graph(self.nodes, "g", self.inputs, [output], self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def region_of(model, canonical_proto):
    (region,) = find_regions(canonical_proto(model)).models
    return region


@pytest.fixture(scope="module")
def cpu(cache_folder):
    """The TVM target of this machine."""
    from edgeweave.targets.cpu import BACKEND
    from edgeweave.targets.host import detect_host

    return BACKEND.target(detect_host(cache_folder).engines[0])


def has_integers(lowered):
    return "int8" in [name.name_hint for name in lowered.functions]


def run_lowered(lowered, target, feeds):
    from tvm import relax

    built = relax.build(lowered, target, relax_pipeline=relax.get_pipeline("default"))
    machine = relax.VirtualMachine(built, tvm.cpu())
    return machine["main"](*map(tvm.runtime.tensor, feeds.values())).numpy()


@pytest.fixture(scope="module")
def check(canonical_proto, cpu):
    """Compare a model's region with ONNX Runtime as it optimises it, and as it is written."""
    import onnxruntime

    def run(model, *, integers=True):
        onnx.checker.check_model(model, full_check=True)
        generator = np.random.default_rng(7)
        feeds = {}
        for info in model.graph.input:
            dtype = "int8" if info.type.tensor_type.elem_type == TensorProto.INT8 else "uint8"
            dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            feeds[info.name] = generator.integers(low, high, dims, endpoint=True).astype(dtype)
        lowered = lower_region(region_of(model, canonical_proto), cpu)
        assert has_integers(lowered) == integers
        got = run_lowered(lowered, cpu, feeds).astype(np.int64)
        levels = onnxruntime.GraphOptimizationLevel
        for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_ALL):
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level, options.log_severity_level = level, 4
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            off = np.abs(session.run(None, feeds)[0].astype(np.int64) - got)
            assert off.max() <= 1
            assert np.mean(off > 0) <= max(0.002, 1 / off.size)
        return got

    return run


def conv(shape, weights, out, *, bias=True, axis=0, tail=(), dtypes=("int8", "int8"), **attributes):
    seed = attributes.pop("seed", 0)
    built = Quantised(attributes.pop("operator", "Conv"), attributes, seed)
    built.activation("x", shape, dtypes[0])
    built.weights(weights, axis)
    if bias:
        built.bias(out[1])
    inner = np.prod(weights[1:]) if built.operator == "Conv" else weights[0]
    return built.model(out, dtypes[1], 0.01 * np.sqrt(inner), tail)


SMALL = ([1, 3, 6, 20], [4, 3, 1, 1], [1, 4, 6, 20])


def test_a_convolution_of_a_line_is_one_of_a_plane(check):
    check(conv([2, 3, 50], [4, 3, 5], [2, 4, 48], pads=[1, 1]))


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_may_be_a_rule(rule, check):
    out = [1, 5, 9, 10] if rule != "VALID" else [1, 5, 8, 9]
    check(conv([1, 3, 17, 20], [5, 3, 3, 4], out, auto_pad=rule, strides=[2, 2]))


def test_a_filter_that_covers_the_image_is_a_product(check):
    check(conv([1, 6, 4, 3], [10, 6, 4, 3], [1, 10, 1, 1], tail=[("Relu",)]))


def test_one_scale_for_all_weights_and_no_bias(check):
    check(conv(*SMALL, bias=False, axis=None))


def test_relu_and_clip_bound_the_result_before_it_is_rounded(check):
    tail = [("Relu",), ("Clip", 0.31, 2.27)]
    got = check(conv(*SMALL, tail=tail, dtypes=("uint8", "int8")))
    assert len(np.unique(got)) < 250


def test_a_clip_above_all_that_the_type_holds_gives_its_largest_value(check):
    tail = [("Clip", 1e6, 2e6)]
    got = check(conv(*SMALL, tail=tail))
    assert set(np.unique(got)) == {127}


@pytest.mark.parametrize("kernel", [[2, 2], [3, 1], [1, 4]])
def test_a_transposed_convolution_without_overlap_spreads_pixels(kernel, check):
    out = [2, 3, 5 * kernel[0], 37 * kernel[1]]
    more = {"operator": "ConvTranspose", "axis": 1, "strides": kernel}
    check(conv([2, 5, 5, 37], [5, 3, *kernel], out, **more))


def gemm(rows, inner, columns, *, turned=True, **attributes):
    built = Quantised("Gemm", {"transB": int(turned), **attributes}, seed=rows)
    built.activation("x", [rows, inner], "int8")
    built.weights([columns, inner] if turned else [inner, columns], axis=0 if turned else 1)
    built.bias(columns)
    return built.model([rows, columns], "uint8", 0.01 * np.sqrt(inner), [("Relu",)])


@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 300, 10), (7, 33, 100)])
def test_a_gemm(rows, inner, columns, check):
    check(gemm(rows, inner, columns))
    check(gemm(rows, inner, columns, turned=False))


@pytest.mark.parametrize(
    ("left", "right"), [([2, 3, 7, 13], [2, 3, 13, 21]), ([2, 5, 6], [6, 40]), ([9, 40], [40, 1])]
)
def test_a_product_of_activations(left, right, check):
    built = Quantised("MatMul")
    built.activation("a", left, "int8", 0.013)
    built.activation("b", right, "uint8")
    check(built.model([*left[:-1], right[-1]], "int8", 0.05 * np.sqrt(left[-1])))


def test_weights_of_uint8_are_taken_where_their_zero_point_makes_them_int8(check):
    def made(zero):
        built = Quantised("MatMul")
        built.activation("x", [4, 10], "uint8")
        built.weights([10, 24], dtype="uint8", zero=zero)
        return built.model([4, 24], "uint8", 0.1)

    check(made(128))
    check(made(100), integers=False)


def layer_of(model, canonical_proto):
    return find_layer(region_of(model, canonical_proto).proto)


def broken(change):
    model = conv(*SMALL)
    change(model.graph)
    return model


def other_tail(graph):
    graph.node.insert(len(graph.node) - 1, helper.make_node("Tanh", ["t0"], ["t9"]))
    graph.node[-1].input[0] = "t9"


def other_bias(graph):
    (scales,) = (tensor for tensor in graph.initializer if tensor.name == "bs")
    doubled = numpy_helper.to_array(scales) * 2
    scales.CopyFrom(numpy_helper.from_array(doubled, "bs"))


def float_bias(graph):
    (place,) = (n for n, node in enumerate(graph.node) if node.output[0] == "bf")
    del graph.node[place]
    graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "bf"))


@pytest.mark.parametrize("change", [other_tail, other_bias])
def test_what_is_no_integer_layer_is_left_to_the_importer(change, check):
    check(broken(change), integers=False)


def test_a_bias_that_is_no_integer_makes_no_integer_layer(canonical_proto):
    assert layer_of(broken(float_bias), canonical_proto) is None


@pytest.mark.parametrize(
    "made",
    [
        conv([1, 2, 4, 5, 6], [3, 2, 1, 1, 1], [1, 3, 4, 5, 6]),
        conv([1, 4, 5, 20], [4, 3, 3, 3], [1, 3, 7, 22], axis=1, operator="ConvTranspose"),
        gemm(3, 20, 8, alpha=0.5),
    ],
    ids=["three axes", "overlapping", "scaled"],
)
def test_forms_without_a_kernel_are_left_to_the_importer(made, check, canonical_proto):
    assert layer_of(made, canonical_proto) is not None
    check(made, integers=False)


def test_sums_that_could_leave_int32_are_left_to_the_importer(canonical_proto, cpu):
    built = Quantised("MatMul")
    built.activation("x", [1, 70_000], "int8")
    built.weights([70_000, 2])
    built.constants[-3].CopyFrom(numpy_helper.from_array(np.full((70_000, 2), 127, np.int8), "w"))
    region = region_of(built.model([1, 2], "int8", 100.0), canonical_proto)
    assert find_layer(region.proto) is not None
    assert not has_integers(lower_region(region, cpu))


def test_float_regions_are_no_layers(canonical):
    text = """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
        <float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}> { y = Conv(x, w) }"""
    (region,) = find_regions(canonical(text)).models
    assert find_layer(region.proto) is None


def test_a_layer_says_what_the_region_computes(canonical_proto):
    layer = layer_of(conv(*SMALL, tail=[("Relu",)], strides=[1, 1]), canonical_proto)
    assert layer.operator == "Conv"
    assert layer.attributes["strides"] == [1, 1]
    assert (layer.low, layer.high) == (0.0, np.inf)
    assert layer.operands[0].shape == (1, 3, 6, 20)
    assert layer.bias.dtype == np.int32
    assert layer.result.dtype == "int8"


@st.composite
def convolutions(draw):
    """A convolution of any attributes, small enough to be built in no time."""
    group = draw(st.sampled_from([1, 1, 2, 5]))
    channels, filters = (group * draw(st.integers(1, 9)) for _ in range(2))
    if draw(st.booleans()):  # depthwise
        group = channels = filters = draw(st.integers(1, 9))
    kernel = [draw(st.integers(1, 5)) for _ in range(2)]
    strides, dilations = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(2))
    pads = [draw(st.integers(0, 4)) for _ in range(4)]
    size = [
        draw(st.integers(1, most)) + (taps - 1) * dilation
        for taps, dilation, most in zip(kernel, dilations, (12, 40), strict=True)
    ]
    out = [
        (extent + pads[axis] + pads[axis + 2] - (kernel[axis] - 1) * dilations[axis] - 1)
        // strides[axis]
        + 1
        for axis, extent in enumerate(size)
    ]
    batch = draw(st.integers(1, 2))
    return conv(
        [batch, channels, *size], [filters, channels // group, *kernel], [batch, filters, *out],
        bias=draw(st.booleans()),
        axis=draw(st.sampled_from([0, None])),
        tail=draw(st.sampled_from([[], [("Relu",)], [("Clip", -0.5, 0.7)]])),
        dtypes=tuple(draw(st.sampled_from(["int8", "uint8"])) for _ in range(2)),
        seed=draw(st.integers(0, 1000)),
        group=group, strides=strides, dilations=dilations, pads=pads,
    )  # fmt: skip


@given(made=convolutions())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_convolutions_of_any_form(made, check):
    check(made)


@pytest.mark.long
@given(made=convolutions())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_very_many_convolutions_of_any_form(made, check):
    check(made)
