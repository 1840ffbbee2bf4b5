"""Kernels for other architectures, linked with a small C program and run under qemu."""

import os
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

from edgeweave.compiler.regions import find_regions
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.cpu import BACKEND

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

HARNESS = Path(__file__).with_name("harness.c")
ONE = Quantity(1.0, "test")
CODES = {"i": 0, "u": 1, "f": 2}  # DLPack's
RV64 = ("+m", "+a", "+f", "+d", "+c")


@dataclass(frozen=True)
class Processor:
    """A CPU as LLVM, zig and qemu call it."""

    triple: str
    mcpu: str
    mattr: tuple[str, ...]
    architecture: str
    zig: str
    qemu: str

    @property
    def engine(self):
        target = {"mtriple": self.triple, "mcpu": self.mcpu, "mattr": self.mattr}
        return Engine("e0", "cpu", "", ("cpu",), {}, ONE, ONE, ONE, cores=(0,), llvm_target=target)


def arm64(mcpu):
    return Processor("aarch64-linux-gnu", mcpu, (), "aarch64", "aarch64-linux-musl", mcpu)


def arm32(mcpu, triple="armv7-linux-gnueabihf"):
    return Processor(triple, mcpu, (), "armv7", "arm-linux-musleabihf", mcpu)


def riscv(mattr, qemu):
    return Processor(
        "riscv64-linux-gnu", "generic-rv64", mattr, "riscv64", "riscv64-linux-musl", qemu
    )


PROCESSORS = {
    "cortex-a53": arm64("cortex-a53"),
    "cortex-a76": arm64("cortex-a76"),
    "cortex-a7": arm32("cortex-a7"),
    "cortex-a9": arm32("cortex-a9", "arm-linux-gnueabihf"),
    "rv64gc": riscv(RV64, "rv64"),
    "rv64gc_zfh": riscv((*RV64, "+zfh"), "rv64,Zfh=true"),
    "rv64gcv": riscv((*RV64, "+v"), "rv64,v=true,vlen=256,vext_spec=v1.0"),
}
MODELS = {
    "convolution": """g (float[1,8,12,12] x, float[8,8,3,3] w) => (float[1,8,12,12] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = Relu(a)
    }""",
    "exponentials": "g (float[4,40] x) => (float[4,40] y) { y = Softmax <axis = 1> (x) }",
    "largest": "g (float[6,40] x) => (float[6,1] y) { y = ReduceMax <axes = [1]> (x) }",
    "integers": "g (int32[16,64] x, int32[64,32] w) => (int32[16,32] y) { y = MatMul(x, w) }",
    "halves": "g (float16[4,96] x, float16[4,96] w) => (float16[4,96] y) { y = Mul(x, w) }",
}


@pytest.fixture(scope="session")
def emulator(kept_cache):
    """qemu for an architecture, downloaded once; a test without it is skipped, but not in CI."""
    from edgeweave.targets.kit.architectures import find_architecture
    from edgeweave.targets.kit.debian import find_qemu
    from edgeweave.targets.kit.errors import KitError

    def find(name):
        try:
            return find_qemu(find_architecture(name), kept_cache / "device", lambda *_: None)
        except KitError as error:
            if os.environ.get("CI", "").lower() in ("true", "1"):
                raise
            pytest.skip(f"qemu cannot be had: {error}")

    return find


@pytest.fixture(scope="session")
def run_kernel(kept_cache, emulator, tmp_path_factory):
    """Compile a model of one kernel for a CPU and run it on one; the finished process."""

    def run(model, on, arrays, qemu=None):
        folder = tmp_path_factory.mktemp("kernel")
        write_object(model, on, folder / "kernel.o")
        link(folder, on.zig, kept_cache / "zig-kernels")
        return subprocess.run(
            [emulator(on.architecture), str(folder / "kernel")],
            input=packed(arrays),
            capture_output=True,
            env=os.environ | {"QEMU_CPU": qemu or on.qemu},
            timeout=60,
            check=False,
        )

    return run


def write_object(model, on, path):
    """The model's one kernel as `compile` would schedule it, named "kernel"."""
    import tvm
    from tvm.tirx import PrimFunc

    from edgeweave.compiler.lower import lower_region
    from edgeweave.schedules.apply import apply_schedules

    target = BACKEND.target(on.engine)
    (region,) = find_regions(model).models
    lowered = apply_schedules(lower_region(region, target), target)
    (kernel,) = (f for f in lowered.functions.values() if isinstance(f, PrimFunc))
    module = tvm.IRModule({"kernel": kernel.with_attr("global_symbol", "kernel")})
    tvm.tirx.build(module, target=target).write_to_file(str(path), "o")


def link(folder, target, cache):
    """A static program; the C library of a target is compiled the first time, in half a minute."""
    import tvm_ffi

    include = Path(tvm_ffi.__file__).parent / "include"
    cache.mkdir(parents=True, exist_ok=True)
    caches = {name: str(cache) for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-static", "-O1", "-Wall"]
    command += ["-Wextra", "-Werror", "-isystem", str(include), str(HARNESS)]
    command += [str(folder / "kernel.o"), "-lm", "-o", str(folder / "kernel")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | caches, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr


def packed(arrays):
    """The harness's input: the arrays, with their types and shapes."""
    data = struct.pack("<i", len(arrays))
    for array in arrays:
        head = (CODES[array.dtype.kind], array.dtype.itemsize * 8, array.ndim)
        data += struct.pack(f"<3i{array.ndim}q", *head, *array.shape) + array.tobytes()
    return data


def example(canonical, name):
    """A model, seeded inputs and ONNX Runtime's result for them."""
    model = canonical(MODELS[name])
    generator = np.random.default_rng(7)
    feeds = {}
    for spec in model.inputs:
        dtype = np.dtype(spec.dtype)
        values = generator.standard_normal(spec.shape)
        feeds[spec.name] = (values * 40 if dtype.kind == "i" else values).astype(dtype)
    if name == "largest":
        feeds["x"][2] = -np.inf
        feeds["x"][3, ::2] = -np.inf
    session = onnxruntime.InferenceSession(
        model.original.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return model, feeds, session.run(None, feeds)[0]


@pytest.fixture(scope="session")
def canonical():
    from edgeweave.compiler.frontend import load_model

    def parse(text):
        opset = 13 if "ReduceMax" in text else 18
        header = f'<ir_version: 10, opset_import: ["": {opset}]>\n'
        return load_model(onnx.parser.parse_model(header + text))

    return parse


# A rule keeps half precision off RISC-V CPUs without instructions for it.
CASES = [
    (processor, name)
    for processor in PROCESSORS
    for name in MODELS
    if name != "halves" or processor not in ("rv64gc", "rv64gcv")
]


@pytest.mark.parametrize(("processor", "name"), CASES)
def test_a_kernel_for_another_cpu_computes_what_onnx_runtime_does(
    processor, name, canonical, run_kernel
):
    model, feeds, wanted = example(canonical, name)
    arrays = [*feeds.values(), np.zeros_like(wanted)]
    done = run_kernel(model, PROCESSORS[processor], arrays)
    assert (done.returncode, done.stderr) == (0, b"")
    result = np.frombuffer(done.stdout, wanted.dtype).reshape(wanted.shape)
    if wanted.dtype.kind == "i" or name == "largest":
        np.testing.assert_array_equal(result, wanted)
    else:
        rtol = 16 * float(np.finfo(wanted.dtype).eps)
        np.testing.assert_allclose(result, wanted, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("processor", "name", "qemu", "feature"),
    [
        ("cortex-a76", "halves", "cortex-a53", "fullfp16"),
        ("rv64gcv", "convolution", "rv64,v=false", "v"),
        ("cortex-a7", "convolution", "cortex-a9", "vfp4"),
    ],
)
def test_code_dies_on_a_cpu_without_a_feature_that_its_artifact_names(
    processor, name, qemu, feature, canonical, run_kernel
):
    from edgeweave.targets.cpu.target import find_features

    on = PROCESSORS[processor]
    assert feature in find_features(on.engine)
    model, feeds, wanted = example(canonical, name)
    done = run_kernel(model, on, [*feeds.values(), np.zeros_like(wanted)], qemu)
    assert done.returncode == -signal.SIGILL
