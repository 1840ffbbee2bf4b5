"""What LLVM is asked for: unknown names are errors, and what code uses is known."""

from dataclasses import replace

import pytest

from edgeweave.runtime.cpu_features import KNOWN
from edgeweave.runtime.machine import triple_architecture
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.board_file import bundled_boards, load_board
from edgeweave.targets.cpu import BACKEND
from edgeweave.targets.cpu.features import needed_features
from edgeweave.targets.cpu.target import find_features, full_triple
from edgeweave.targets.errors import TargetError

ONE = Quantity(1.0, "test")
GC = ("+m", "+a", "+f", "+d", "+c")


def engine(triple, mcpu="", mattr=()):
    target = {"mtriple": triple, "mcpu": mcpu, "mattr": mattr}
    return Engine("big", "cpu", "", ("cpu",), {}, ONE, ONE, ONE, llvm_target=target)


@pytest.mark.parametrize(
    ("triple", "mcpu", "mattr", "features"),
    [
        ("aarch64-linux-gnu", "cortex-a53", (), "neon"),
        ("aarch64-linux-gnu", "cortex-a72", (), "neon"),  # a Raspberry Pi 4 has no cryptography
        ("aarch64-linux-gnu", "cortex-a76", (), "dotprod fullfp16 lse neon rcpc rdm"),
        ("aarch64-linux-gnu", "cortex-a53", ("+dotprod",), "dotprod neon"),
        ("armv7-linux-gnueabihf", "cortex-a7", (), "fp16 hwdiv-arm neon vfp4"),
        # it has conversions of halves, and Linux does not say so
        ("arm-linux-gnueabihf", "cortex-a9", ("+neon",), "neon"),
        ("riscv64-linux-gnu", "generic-rv64", GC, "a c d f m"),
        ("riscv64-linux-gnu", "generic-rv64", (*GC, "+v"), "a c d f m v"),
        ("x86_64-linux-gnu", "x86-64", (), ""),
        ("x86_64-linux-gnu", "nehalem", (), "popcnt sse4.1 sse4.2"),
        ("x86_64-linux-gnu", "nehalem", ("-popcnt",), "sse4.1 sse4.2"),
        (
            "x86_64-linux-gnu",
            "haswell",
            (),
            "avx avx2 bmi bmi2 f16c fma lzcnt movbe popcnt sse4.1 sse4.2",
        ),
    ],
)
def test_the_features_that_code_may_use_are_those_of_its_cpu(triple, mcpu, mattr, features):
    assert find_features(engine(triple, mcpu, mattr)) == tuple(features.split())


def test_a_later_cpu_needs_all_that_an_earlier_one_does_and_more():
    def needed(mcpu):
        return set(needed_features("x86_64-linux-gnu", mcpu, ()))

    assert needed("haswell") < needed("skylake-avx512") < needed("icelake-server")
    assert needed("icelake-server") < needed("sapphirerapids")
    assert {"amx-tile", "amx-int8", "avx512fp16"} <= needed("sapphirerapids")


@pytest.mark.parametrize("architecture", KNOWN)
def test_every_known_feature_is_one_of_llvms(architecture):
    from tvm.target import Target, codegen

    triple = f"{architecture}-linux-gnu"
    cpus = codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple}))
    found = {name for cpu in cpus for name in needed_features(triple, str(cpu), ())}
    assert found == KNOWN[architecture].keys()


@pytest.mark.parametrize(
    ("triple", "mcpu", "mattr", "reason", "next_step"),
    [
        (
            "aarch64-linux-gnu",
            "cortex-a67",
            (),
            "LLVM knows no CPU 'cortex-a67' of aarch64 (mcpu)",
            "Near it are cortex-a78, cortex-a77, cortex-a76",
        ),
        (
            "aarch64-linux-gnu",
            "Cortex-A53",
            (),
            "LLVM knows no CPU 'Cortex-A53' of aarch64 (mcpu)",
            "Near it are cortex-a53, cortex-a75, cortex-a73",
        ),
        (
            "riscv64-linux-gnu",
            "?",
            (),
            "LLVM knows no CPU '?' of riscv64 (mcpu)",
            "Write the CPU as LLVM spells it",
        ),
        (
            "aarch64-linux-gnu",
            "cortex-a72",
            ("+neon", "+dotprood"),
            "LLVM knows no CPU of aarch64 with the feature 'dotprood' (mattr)",
            "Near it are dotprod",
        ),
        (
            "x86_64-linux-gnu",
            "haswell",
            ("avx512f",),
            "mattr 'avx512f' neither adds nor removes a feature",
            "Write +avx512f or -avx512f",
        ),
        (
            "x86_64-linux-gnu",
            "haswell",
            ("",),
            "mattr '' neither adds nor removes a feature",
            "Write + or - before the feature's name",
        ),
        (
            "sparc-linux-gnu",
            "v9",
            (),
            "mtriple 'sparc-linux-gnu' is of no architecture that code is made for",
            "Known are aarch64, arm, riscv64, x86_64",
        ),
        (
            "riscv64-linux-gnu",
            "generic-rv64",
            ("+m", "+a"),
            "generic-rv64 is named without c, d, f, which Linux on RISC-V has",
            "Add +c, +d, +f to mattr",
        ),
    ],
)
def test_a_name_llvm_does_not_know_is_an_error_with_those_near_it(
    triple, mcpu, mattr, reason, next_step, capfd
):
    with pytest.raises(TargetError) as caught:
        BACKEND.target(engine(triple, mcpu, mattr))
    error = caught.value
    assert (error.subject, error.reason) == ("llvm_target of engine big", reason)
    assert error.next_step == next_step
    assert capfd.readouterr() == ("", "")  # LLVM's own warning does not appear


@pytest.mark.parametrize("name", bundled_boards())
def test_llvm_knows_the_cpus_of_the_bundled_boards(name):
    for found in load_board(name).engines:
        if found.kind == "cpu":
            BACKEND.target(found)
            architecture = triple_architecture(str(found.llvm_target["mtriple"]))
            assert set(find_features(found)) <= KNOWN[architecture].keys()


@pytest.mark.parametrize(
    ("triple", "full"),
    [
        ("aarch64-linux-gnu", "aarch64-unknown-linux-gnu"),
        ("armv7-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"),
        ("riscv64-unknown-linux-gnu", "riscv64-unknown-linux-gnu"),
        ("aarch64-none-elf", "aarch64-none-elf"),
        ("aarch64", "aarch64"),
    ],
)
def test_a_triple_without_a_vendor_gets_one(triple, full):
    assert full_triple(triple) == full


@pytest.mark.parametrize(
    ("mattr", "abi"), [(GC, "lp64d"), ((*GC, "+v"), "lp64d"), ((*GC, "+zfh"), "lp64d")]
)
def test_riscv_code_passes_floats_as_linux_does(mattr, abi):
    target = BACKEND.target(engine("riscv64-linux-gnu", "generic-rv64", mattr))
    assert str(target.attrs["mabi"]) == abi


def test_an_engine_without_cpu_and_features_is_generic():
    plain = replace(engine("x86_64-linux-gnu"), llvm_target={"mtriple": "x86_64-linux-gnu"})
    assert find_features(plain) == ()
    assert "mattr" not in BACKEND.target(plain).attrs
