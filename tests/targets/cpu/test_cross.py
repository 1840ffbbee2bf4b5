"""Code for other processors with nothing installed: what the linked library is and asks for."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeweave.targets.backend import Slot
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.errors import BuildError

ONE = Quantity(1.0, "test")
GC = ("+m", "+a", "+f", "+d", "+c")
CPUS = [
    *(("aarch64-linux-gnu", f"cortex-{name}", ()) for name in ("a53", "a55", "a72", "a76", "a78")),
    ("aarch64-linux-gnu", "cortex-a510", ()),  # scalable vectors
    ("armv7-linux-gnueabihf", "cortex-a7", ()),
    ("armv7-linux-gnueabihf", "cortex-a9", ("+neon",)),
    ("arm-linux-gnueabihf", "cortex-a7", ()),
    ("arm-linux-gnueabihf", "cortex-a9", ("+neon",)),
    ("riscv64-linux-gnu", "generic-rv64", GC),
    ("riscv64-linux-gnu", "generic-rv64", (*GC, "+v")),
    ("x86_64-linux-gnu", "x86-64", ()),
    ("x86_64-linux-gnu", "haswell", ()),
    ("x86_64-linux-gnu", "skylake-avx512", ()),
]
NAMES = [f"{triple.split('-')[0]} {mcpu} {mattr[-1:]}" for triple, mcpu, mattr in CPUS]
# e_machine, bits, flags that the system's loader compares: bits looked at, their value
ELF = {
    "aarch64": (183, 64, 0, 0),
    "arm": (40, 32, 0xFF000600, 0x05000400),  # EABI 5, floats in floating-point registers
    "riscv64": (243, 64, 0x6, 0x4),  # doubles in floating-point registers
    "x86_64": (62, 64, 0, 0),
}
# Of the C library and its mathematics, of libgcc_s on 32-bit ARM, and of libtvm_ffi: every process
# with TVM's runtime holds them, for libtvm_ffi is linked with the others.
MATHS = "exp erf sin log pow floor ceil nearbyint round trunc fmod tanh sqrt".split()
ALLOWED = {
    "TVMFFIErrorSetRaisedFromCStrParts",
    *(f"{name}f" for name in MATHS),
    *("memcpy", "memset", "memmove"),
}
ALLOWED_ARM = {
    *("__aeabi_unwind_cpp_pr0", "__aeabi_unwind_cpp_pr1", "__aeabi_idiv", "__aeabi_uidiv"),
    *("__aeabi_idivmod", "__aeabi_ldivmod", "__aeabi_memcpy", "__aeabi_memset", "__aeabi_memclr"),
}

CNN = """<ir_version: 9, opset_import: ["": 17]>
g (float[1,3,16,16] x) => (float[1,10] y) <float k = {2.5}> {
    a = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w1, b1)
    b = Sigmoid(a)
    c = Conv <group = 8, pads = [1, 1, 1, 1]> (b, w2)
    d = Tanh(c)
    e = Erf(d)
    f = Sin(e)
    h = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (f)
    i = GlobalAveragePool(h)
    j = Flatten(i)
    l = Gemm <transB = 1> (j, w3, b3)
    m = Softmax(l)
    n = Pow(m, k)
    o = Round(n)
    p = Mod <fmod = 1> (n, k)
    y = Add(o, p)
}"""
SHAPES = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "w3": (10, 8), "b3": (10,)}


def engine(triple, mcpu, mattr):
    target = {"mtriple": triple, "mcpu": mcpu, "mattr": mattr}
    return Engine("e0", "cpu", "", ("cpu",), {}, ONE, ONE, ONE, cores=(0,), llvm_target=target)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Compile a whole model for an engine as `compile` does."""
    from edgeweave.compiler.build import build_stage
    from edgeweave.compiler.frontend import load_model
    from edgeweave.compiler.regions import find_regions
    from edgeweave.compiler.split import cut_stage

    def run(proto, on):
        regions = find_regions(load_model(proto))
        source = cut_stage(regions, "s0", Slot("e0", "cpu"), range(len(regions.graph.regions)))
        return build_stage(source, on, tmp_path_factory.mktemp("stage"))

    return run


@pytest.fixture(scope="module")
def cnn():
    generator = np.random.default_rng(0)
    proto = onnx.parser.parse_model(CNN)
    for name, shape in SHAPES.items():
        array = generator.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


@dataclass(frozen=True)
class Library:
    """What the header and the dynamic section of an ELF file say."""

    machine: int
    bits: int
    kind: int
    flags: int
    needed: frozenset[str]
    undefined: frozenset[str]
    defined: frozenset[str]


def read_library(path: Path) -> Library:
    data = path.read_bytes()
    assert data[:4] == b"\x7fELF"
    wide = data[4] == 2
    assert data[5] == 1  # little endian
    kind, machine = struct.unpack_from("<HH", data, 16)
    layout = "<QQQI6H" if wide else "<IIII6H"
    _, _, sections_at, flags, _, _, _, size, count, _ = struct.unpack_from(layout, data, 24)
    sections = [
        struct.unpack_from("<IIQQQQIIQQ" if wide else "<10I", data, sections_at + i * size)
        for i in range(count)
    ]
    (symbols,) = (s for s in sections if s[1] == 11)  # SHT_DYNSYM
    (dynamic,) = (s for s in sections if s[1] == 6)  # SHT_DYNAMIC
    strings = sections[symbols[6]][4]

    def text(offset):
        return data[strings + offset : data.index(b"\0", strings + offset)].decode()

    entries = struct.iter_unpack(
        "<qQ" if wide else "<iI", data[dynamic[4] : dynamic[4] + dynamic[5]]
    )
    needed = frozenset(text(value) for tag, value in entries if tag == 1)
    step = 24 if wide else 16
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for at in range(symbols[4] + step, symbols[4] + symbols[5], step):
        section = struct.unpack_from("<H", data, at + (6 if wide else 14))[0]
        names[section != 0].add(text(struct.unpack_from("<I", data, at)[0]))
    return Library(
        machine,
        64 if wide else 32,
        kind,
        flags,
        needed,
        frozenset(names[False]),
        frozenset(names[True]),
    )


@pytest.mark.parametrize(("triple", "mcpu", "mattr"), CPUS, ids=NAMES)
def test_a_network_becomes_a_library_that_the_boards_system_loads(triple, mcpu, mattr, build, cnn):
    from edgeweave.runtime.machine import machine_architecture, triple_architecture

    on = engine(triple, mcpu, mattr)
    artifact = build(cnn, on)
    architecture = triple_architecture(triple)
    library = read_library(artifact.folder / "stage.so")
    machine, bits, looked_at, flags = ELF[architecture]
    assert (library.machine, library.bits, library.kind) == (machine, bits, 3)  # ET_DYN
    assert library.flags & looked_at == flags
    assert library.needed == frozenset()
    assert library.undefined <= (ALLOWED | ALLOWED_ARM if architecture == "arm" else ALLOWED)
    assert "TVMFFIErrorSetRaisedFromCStrParts" in library.undefined
    assert any(name.startswith("__tvm_ffi_") for name in library.defined)
    assert artifact.options["triple"] == triple
    assert artifact.options["mcpu"] == mcpu
    assert artifact.options["features"] == sorted(artifact.options["features"])
    if architecture != machine_architecture():
        assert artifact.host_run is None


def test_the_runtime_brings_the_libraries_that_code_takes_functions_from():
    """A process that loads a stage has libtvm_ffi, and so what that is linked with."""
    import tvm_ffi

    (path,) = (Path(tvm_ffi.__file__).parent / "lib").glob("libtvm_ffi.so")
    library = read_library(path)
    assert {"libc.so.6", "libm.so.6", "libgcc_s.so.1"} <= library.needed
    assert "TVMFFIErrorSetRaisedFromCStrParts" in library.defined


HALVES = """<ir_version: 10, opset_import: ["": 18]>
g (float16[4,96] x, float16[4,96] w) => (float16[4,96] y) { y = Mul(x, w) }"""


@pytest.mark.parametrize(
    ("triple", "mcpu", "mattr"),
    [
        ("aarch64-linux-gnu", "cortex-a53", ()),
        ("arm-linux-gnueabihf", "cortex-a9", ()),
        ("riscv64-linux-gnu", "generic-rv64", (*GC, "+zfh")),
        ("riscv64-linux-gnu", "generic-rv64", (*GC, "+v", "+zfh", "+zvfh")),
        ("x86_64-linux-gnu", "x86-64", ()),
    ],
)
def test_half_precision_needs_no_function_that_a_system_may_lack(triple, mcpu, mattr, build):
    artifact = build(onnx.parser.parse_model(HALVES), engine(triple, mcpu, mattr))
    library = read_library(artifact.folder / "stage.so")
    assert library.undefined <= ALLOWED | ALLOWED_ARM


@pytest.mark.parametrize("mattr", [GC, (*GC, "+v"), (*GC, "+v", "+zfh")])
def test_half_precision_that_llvm_cannot_compile_is_refused_before(mattr, build):
    text = """<ir_version: 10, opset_import: ["": 18]>
    g (float[4,96] x) => (float[4,96] y) {
        a = Cast <to = 10> (x)
        y = Cast <to = 1> (a)
    }"""
    with pytest.raises(BuildError, match="computes in float16, and generic-rv64 lacks z"):
        build(onnx.parser.parse_model(text), engine("riscv64-linux-gnu", "generic-rv64", mattr))
