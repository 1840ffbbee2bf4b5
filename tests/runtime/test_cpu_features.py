"""What a machine can do, and whether the device program knows the same words."""

import re
from pathlib import Path

import pytest

import edgeweave.runtime
from edgeweave.runtime import cpu_features
from edgeweave.runtime.cpu_features import KNOWN, lacking_features, present_features

DEVICE = Path(edgeweave.runtime.__path__[0]) / "device" / "cpu_features.cc"
XEON = """processor : 0
flags\t\t: fpu sse4_1 sse4_2 popcnt avx avx2 fma bmi1 abm avx512f avx512_vnni hypervisor aes

processor : 1
flags\t\t: fpu sse4_1 sse4_2 popcnt avx avx2 fma bmi1 abm avx512f hypervisor aes
"""
A76 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU part\t: 0xd0b
"""
A9 = "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpd32\n"
A7 = "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae\n"
X60 = "isa\t\t: rv64imafdcv_zicbom_zicond_zba_zbb_zbs_zfhmin\nmmu : sv39\n"


@pytest.mark.parametrize(
    ("architecture", "text", "features"),
    [
        # the second core has no VNNI
        ("x86_64", XEON, "sse4.1 sse4.2 popcnt avx avx2 fma bmi lzcnt avx512f"),
        ("aarch64", A76, "neon lse fullfp16 rdm rcpc dotprod"),
        ("arm", A9, "neon"),
        ("arm", A7, "neon vfp4 fp16 hwdiv-arm"),
        # zfhmin is less than zfh
        ("riscv64", X60, "m a f d c v zicond zba zbb zbs"),
        ("riscv64", "isa : rv64gc\n", "m a f d c"),
        ("riscv64", "isa : rv64imac\n", "m a c"),
        ("x86_64", "flags :\n", ""),
    ],
)
def test_features_have_llvms_names(architecture, text, features):
    assert present_features(text, architecture) == set(features.split())


@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        ("aarch64", XEON),  # under an emulator
        ("x86_64", ""),
        ("x86_64", "flagship : avx\n"),
        ("s390x", "features : vx\n"),
    ],
)
def test_a_text_that_lists_none_is_not_a_machine_without_any(architecture, text):
    assert present_features(text, architecture) is None


@pytest.fixture
def machine(monkeypatch):
    """A machine with those features."""

    def make(features):
        monkeypatch.setattr(cpu_features, "machine_features", lambda: features)

    return make


def test_what_is_lacking_is_named_in_order(machine):
    machine(frozenset({"avx", "avx2"}))
    assert lacking_features(["fma", "avx2", "avx512f", "avx"]) == ["avx512f", "fma"]
    assert lacking_features([]) == []


def test_nothing_is_lacking_where_nobody_tells(machine):
    machine(None)
    assert lacking_features(["avx512f"]) == []


def test_a_machine_without_the_file_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_features, "_CPUINFO", tmp_path / "none")
    assert cpu_features.machine_features.__wrapped__() is None


def test_this_machine_tells_something_of_its_kind():
    from edgeweave.runtime.machine import machine_architecture

    assert cpu_features.machine_features() <= KNOWN[machine_architecture()].keys()


def device_names():
    """The features in each architecture's tables of the device program's source."""
    code = re.sub(r"//.*", "", DEVICE.read_text())
    arm64, arm, x86, riscv = re.search(
        r"#if defined\(__aarch64__\)\n(.*?)#else(.*?)#endif"
        r".*?#elif defined\(__x86_64__\)(.*?)#elif defined\(__riscv\)(.*?)#endif",
        code,
        re.DOTALL,
    ).groups()
    rows = r'"([\w.-]+)"\}'  # the last of each row
    lists = "".join(re.findall(r"\[\] = \{(.*?)\};", riscv, re.DOTALL))
    return {
        "aarch64": set(re.findall(rows, arm64)),
        "arm": set(re.findall(rows, arm)),
        "x86_64": set(re.findall(rows, x86)),
        "riscv64": set(re.findall(r'"(\w+)"', lists)),
    }


@pytest.mark.parametrize("architecture", KNOWN)
def test_the_device_program_knows_the_same_names(architecture):
    assert device_names()[architecture] == KNOWN[architecture].keys()
