"""Integer kernels against sums in numpy, for every kind of dot product that this machine runs."""

from dataclasses import replace

import numpy as np
import pytest

from edgeweave.runtime.cpu_features import lacking_features
from edgeweave.schedules.int8.conv import ConvKernel
from edgeweave.schedules.int8.dot import PLAIN, UNITS, DotUnit, find_dot
from edgeweave.schedules.int8.matmul import MatmulKernel, MatmulShape
from edgeweave.schedules.int8.round import settings
from edgeweave.schedules.int8.shape import ConvShape, Layout
from edgeweave.schedules.int8.tile import ConvTile, choose_tile
from edgeweave.targets.cpu.features import needed_features

tvm = pytest.importorskip("tvm")
tir = pytest.importorskip("tvm.tirx.script.builder")

CPUS = ("x86-64", "haswell", "skylake-avx512", "cascadelake")
RISCV = {"mattr": ["+m", "+a", "+f", "+d", "+c", "+v"], "mabi": "lp64d"}
TRIPLE = "x86_64-unknown-linux-gnu"


class SignedBytes(DotUnit):
    """What sdot computes, in operations that every CPU has."""

    def dot(self, sums, activations, weights):
        shift = [tir.Broadcast(tir.int32(bits), self.lanes) for bits in (24, 16, 8, 0)]
        for left in shift:
            one, other = ((word << left) >> shift[0] for word in (activations, weights))
            sums = sums + one * other
        return sums


SIGNED = SignedBytes("signed bytes", "", 4, 4)


def target(cpu, triple=TRIPLE, **more):
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, **more})


def runnable(cpu):
    return not lacking_features(needed_features(TRIPLE, cpu, ()))


def units():
    """Every unit that this machine runs, with a CPU that has it."""
    found = [(find_dot(target(cpu)), cpu) for cpu in CPUS if runnable(cpu)]
    return [*found, (PLAIN, "x86-64"), (SIGNED, "x86-64")]


ALL = units()
BEST = ALL[-3]
FEW = [ALL[0], *ALL[-3:]]  # one of each way to store values


def each_unit(test):
    names = [f"{unit.name} of {cpu}" for unit, cpu in FEW]
    return pytest.mark.parametrize(("unit", "cpu"), FEW, ids=names)(test)


def call(function, cpu, arguments, result):
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    built = tvm.tirx.build(module, target=target(cpu))
    output = tvm.runtime.tensor(result)
    built["kernel"](*map(tvm.runtime.tensor, arguments), output)
    return output.numpy()


def limits(dtype):
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def drawn(generator, dtype, shape):
    low, high = limits(dtype)
    return generator.integers(low, high, shape, endpoint=True).astype(dtype)


def rounded(sums, scale, zero, dtype):
    low, high = limits(dtype)
    scaled = sums.astype(np.float32) * scale
    return np.clip(np.rint(scaled).astype(np.int64) + zero, low, high).astype(dtype)


def convolved(shape, x, weights):
    """Sums of int64 of a convolution whose input has its zero point taken off."""
    top, left, bottom, right = shape.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows, columns = shape.out_height, shape.out_width
    sums = np.zeros((shape.batch, shape.filters, rows, columns), np.int64)
    filters, channels = shape.filters_of_group, shape.channels_of_group
    for row in range(shape.kernel[0]):
        for tap in range(shape.kernel[1]):
            down, along = row * shape.dilations[0], tap * shape.dilations[1]
            part = padded[:, :, down:, along:][:, :, :: shape.strides[0], :: shape.strides[1]]
            for group in range(shape.group):
                f = slice(group * filters, (group + 1) * filters)
                c = slice(group * channels, (group + 1) * channels)
                some = part[:, c, :rows, :columns]
                sums[:, f] += np.einsum("fc,nchw->nfhw", weights[f, :, row, tap], some)
    return sums


def check_conv(shape, unit, cpu, dtypes=("int8", "int8"), tile=None, cores=1, seed=0):
    generator = np.random.default_rng(seed)
    x_dtype, y_dtype = dtypes
    x = drawn(generator, x_dtype, (shape.batch, shape.channels, shape.height, shape.width))
    zero, out_zero = (int(drawn(generator, dtype, ())) for dtype in dtypes)
    size = (shape.filters, shape.channels_of_group, *shape.kernel)
    weights = generator.integers(-127, 127, size, endpoint=True)
    bias = generator.integers(-5000, 5000, shape.filters)
    scale = (generator.random(shape.filters) * 0.004 + 0.001).astype(np.float32)
    kernel = ConvKernel.choose(shape, unit, cores, dtypes)
    kernel = kernel if tile is None else replace(kernel, tile=tile)
    correction = unit.stored_zero(zero, x_dtype) * weights.reshape(len(weights), -1).sum(1)
    low, high = limits(y_dtype)
    numbers = settings(
        unit.pad_word(zero, x_dtype), unit.offset(zero, x_dtype), out_zero,
        low - out_zero, high - out_zero,
    )  # fmt: skip
    sums = convolved(shape, x.astype(np.int64) - zero, weights) + bias[:, None, None]
    wanted = rounded(sums, scale[:, None, None], out_zero, y_dtype)
    got = call(
        kernel.function(x.shape, wanted.shape),
        cpu,
        [
            x,
            kernel.pack(weights.astype(np.int8)),
            (bias - correction).astype(np.int32),
            scale,
            np.array(numbers, np.int32),
        ],
        np.zeros_like(wanted),
    )
    np.testing.assert_array_equal(got, wanted)


PAD = (1, 1, 1, 1)
CONVOLUTIONS = {
    "3x3": ConvShape(1, 6, 9, 20, 7, (3, 3), pads=PAD),
    "1x1": ConvShape(2, 5, 4, 9, 3, (1, 1)),
    "1x1 of one pixel and many filters": ConvShape(1, 9, 1, 2, 20, (1, 1)),
    "strided": ConvShape(1, 3, 13, 37, 5, (3, 3), (2, 2), pads=PAD),
    "strided by 3, dilated and lopsided": ConvShape(
        1, 4, 17, 19, 3, (3, 2), (3, 1), (2, 3), (2, 0, 1, 3)
    ),
    "depthwise": ConvShape(1, 5, 8, 34, 5, (3, 3), pads=PAD, group=5),
    "depthwise, strided, 5 taps": ConvShape(
        1, 3, 11, 41, 6, (5, 5), (2, 2), pads=(2, 2, 2, 2), group=3
    ),
    "grouped": ConvShape(1, 12, 6, 7, 6, (3, 3), pads=PAD, group=2),
    "narrower than the kernel": ConvShape(1, 8, 3, 2, 4, (5, 5), pads=(2, 2, 2, 2)),
    "strided by 4 along rows": ConvShape(1, 2, 3, 70, 4, (1, 8), (1, 4), pads=(0, 2, 0, 2)),
}


@each_unit
def test_a_convolution_sums_and_rounds_exactly(unit, cpu):
    check_conv(CONVOLUTIONS["strided"], unit, cpu)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_form_of_a_convolution_is_exact(name):
    unit, cpu = BEST
    check_conv(CONVOLUTIONS[name], unit, cpu, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_form_is_exact_with_every_kind_of_dot_product(name):
    for unit, cpu in ALL:
        for dtypes in (("int8", "uint8"), ("uint8", "int8")):
            check_conv(CONVOLUTIONS[name], unit, cpu, dtypes, seed=4)


@each_unit
def test_padding_is_the_zero_point_and_types_are_free(unit, cpu):
    shape = ConvShape(1, 1, 2, 3, 2, (3, 3), pads=PAD)
    check_conv(shape, unit, cpu, ("uint8", "int8"), seed=2)
    check_conv(shape, unit, cpu, ("uint8", "uint8"), seed=3)


@pytest.mark.parametrize(
    "tile",
    [
        ConvTile(9, 22, 20, False, 2, 16, 1),
        ConvTile(4, 22, 20, False, 7, 16, 1),
        ConvTile(2, 22, 20, True, 3, 16, 2),
        ConvTile(9, 22, 20, True, 1, 64, 3),
    ],
)
def test_tiles_that_overlap_write_the_same(tile):
    unit, cpu = BEST
    if unit.lanes != 16:
        pytest.skip("the tiles are of vectors of 16 sums")
    check_conv(CONVOLUTIONS["3x3"], unit, cpu, tile=tile, cores=2)


def test_threads_share_filters_groups_and_images(monkeypatch):
    monkeypatch.setattr("edgeweave.schedules.int8.tile.WORTH_THREADS", 0.0)
    unit, cpu = BEST
    for name in ("1x1 of one pixel and many filters", "depthwise", "1x1"):
        kernel = ConvKernel.choose(CONVOLUTIONS[name], unit, 4, ("int8", "int8"))
        assert kernel.tile.parts > 1 or kernel.shape.batch > 1
        check_conv(CONVOLUTIONS[name], unit, cpu, cores=4)


def test_a_small_image_of_many_filters_is_shared_by_filters_and_a_large_one_by_rows():
    unit = UNITS[0][1]
    small = choose_tile(Layout(ConvShape(1, 512, 8, 8, 512, (1, 1)), 4), unit, 4)
    large = choose_tile(Layout(ConvShape(1, 16, 320, 320, 8, (3, 3), pads=PAD), 4), unit, 4)
    assert small.parts > 1
    assert large.rows <= 80


def test_a_small_kernel_is_for_one_thread_and_so_is_any_on_one_core():
    unit, large = UNITS[0][1], ConvShape(1, 64, 64, 64, 64, (3, 3), pads=PAD)
    assert not ConvKernel.choose(CONVOLUTIONS["3x3"], unit, 4, ("int8", "int8")).tile.shared
    assert not ConvKernel.choose(large, unit, 1, ("int8", "int8")).tile.shared
    kernel = ConvKernel.choose(large, unit, 4, ("int8", "int8"))
    assert kernel.tile.shared
    shape = (1, 64, 64, 64)
    assert "T.parallel" in kernel.function(shape, shape).script()


def check_matmul(shape, unit, cpu, weights, dtypes, cores=1, seed=0):
    generator = np.random.default_rng(seed)
    left = drawn(generator, dtypes[0], (shape.batch, shape.rows, shape.inner))
    right = drawn(generator, dtypes[1], (shape.batch, shape.inner, shape.columns))
    zeros = [int(drawn(generator, dtype, ())) for dtype in dtypes]
    kernel = MatmulKernel.choose(shape, unit, cores, weights, dtypes[:2], dtypes[2])
    low, high = limits(dtypes[2])
    bounds = (low - zeros[2], high - zeros[2])
    if weights == "right":
        right = generator.integers(-127, 127, right.shape[1:], endpoint=True)
        sums = (left.astype(np.int64) - zeros[0]) @ right
        bias = -unit.stored_zero(zeros[0], dtypes[0]) * right.sum(0)
        room = (0, kernel.padded_columns - shape.columns)
        scale = (generator.random(shape.columns) * 0.003 + 0.001).astype(np.float32)
        numbers = settings(0, unit.offset(zeros[0], dtypes[0]), zeros[2], *bounds)
        numbers += [unit.offset(zeros[0], dtypes[0]), 0, 0]
        packed = kernel.pack(right.astype(np.int8))
        arguments = [left, packed, np.pad(bias, room).astype(np.int32), np.pad(scale, room)]
    else:
        sums = (left.astype(np.int64) - zeros[0]) @ (right.astype(np.int64) - zeros[1])
        stored = unit.stored_zero(zeros[1], dtypes[1])
        signed = zeros[0] - (128 if dtypes[0] == "uint8" else 0) if unit.depth == 4 else 0
        scale = np.full(shape.rows, 0.002, np.float32)
        bias = np.full(shape.rows, shape.inner * stored * signed, np.int32)
        offset = unit.offset(zeros[1], dtypes[1])
        numbers = settings(unit.pad_word(zeros[1], dtypes[1]), offset, zeros[2], *bounds)
        numbers += [unit.offset(zeros[0], dtypes[0]), stored, signed]
        arguments = [left, right, bias, scale]
    along = scale if weights == "right" else scale[:, None]
    wanted = rounded(sums, along, zeros[2], dtypes[2])
    function = kernel.function(left.shape, right.shape, wanted.shape)
    arguments.append(np.array(numbers, np.int32))
    np.testing.assert_array_equal(call(function, cpu, arguments, np.zeros_like(wanted)), wanted)


@pytest.mark.long
@pytest.mark.parametrize("weights", ["right", "none"])
def test_a_product_is_exact_with_every_kind_of_dot_product(weights):
    for unit, cpu in ALL:
        for seed, inner in enumerate((1, 4, 7, 70)):
            dtypes = ("uint8", "int8", "int8") if seed % 2 else ("int8", "int8", "uint8")
            check_matmul(
                MatmulShape(1, 6, inner, 5 + 30 * seed), unit, cpu, weights, dtypes, 2, seed
            )


@each_unit
@pytest.mark.parametrize("weights", ["right", "none"])
def test_a_product_sums_and_rounds_exactly(weights, unit, cpu, monkeypatch):
    monkeypatch.setattr("edgeweave.schedules.int8.matmul.WORTH_THREADS", 0.0)
    batch = 1 if weights == "right" else 2
    dtypes = ("uint8", "int8", "uint8") if weights == "right" else ("int8", "uint8", "int8")
    check_matmul(MatmulShape(batch, 5, 15, 37), unit, cpu, weights, dtypes)
    check_matmul(MatmulShape(1, 3, 2, 3), unit, cpu, weights, ("uint8", "uint8", "int8"), 2, 3)


@pytest.mark.parametrize(
    ("cpu", "triple", "more", "name", "instruction"),
    [
        ("cascadelake", TRIPLE, {}, "vpdpbusd.512", "vpdpbusd"),
        ("alderlake", TRIPLE, {}, "vpdpbusd.256", "vpdpbusd"),
        ("skylake-avx512", TRIPLE, {}, "vpmaddwd.512", "vpmaddwd"),
        ("haswell", TRIPLE, {}, "vpmaddwd.256", "vpmaddwd"),
        ("x86-64", TRIPLE, {}, "pmaddwd.128", "pmaddwd"),
        ("cortex-a76", "aarch64-unknown-linux-gnu", {}, "sdot", "sdot"),
        ("cortex-a72", "aarch64-unknown-linux-gnu", {}, "multiply-add", "smlal"),
        ("cortex-a9", "armv7a-unknown-linux-gnueabihf", {}, "multiply-add", "vmlal"),
        ("generic-rv64", "riscv64-unknown-linux-gnu", RISCV, "multiply-add", "vwmacc"),
    ],
)  # fmt: skip
def test_the_instruction_follows_the_target(cpu, triple, more, name, instruction):
    chosen = target(cpu, triple, **more)
    unit = find_dot(chosen)
    assert unit.name == name
    kernel = ConvKernel.choose(CONVOLUTIONS["3x3"], unit, 2, ("int8", "int8"))
    function = kernel.function((1, 6, 9, 20), (1, 7, 9, 20))
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    assert instruction in tvm.tirx.build(module, target=chosen).inspect_source("asm")


def test_few_channels_are_packed_by_taps_and_many_by_channels():
    assert Layout(ConvShape(1, 1, 9, 9, 4, (3, 3)), 4).of_taps
    assert not Layout(ConvShape(1, 8, 9, 9, 4, (3, 3)), 4).of_taps
    assert not Layout(ConvShape(1, 1, 9, 9, 4, (1, 1)), 4).of_taps
