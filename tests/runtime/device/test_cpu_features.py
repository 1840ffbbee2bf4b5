"""The CPU features that a device reports: what every stage's code is checked against."""

import re
from importlib.resources import files

import pytest

from edgeweave.runtime.cpu_features import KNOWN, machine_features


def test_this_machine_reports_what_linux_says_of_it(device):
    assert device.hello()["features"] == sorted(machine_features())


@pytest.mark.parametrize("architecture", sorted(KNOWN))
def test_the_device_program_knows_the_same_names(architecture):
    source = (files("edgeweave.runtime") / "device" / "cpu_features.cc").read_text()
    blocks = {
        "aarch64": r"#if defined\(__aarch64__\)\nconstexpr.*?#else",
        "arm": r"#else\nconstexpr.*?#endif",
        "x86_64": r"#elif defined\(__x86_64__\).*?#elif",
        "riscv64": r"#elif defined\(__riscv\).*?longer_names",
    }
    (block,) = re.findall(blocks[architecture], source, re.DOTALL)
    names = set(re.findall(r'"([a-z0-9.-]+)"(?=[},]| *$)', block, re.MULTILINE))
    assert KNOWN[architecture].keys() <= names


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("cpu", "has", "has_not"),
    [
        ("cortex-a53", {"neon"}, {"dotprod", "fullfp16", "lse", "rdm", "sve"}),
        ("cortex-a76", {"neon", "dotprod", "fullfp16", "lse", "rdm", "rcpc"}, {"sve", "i8mm"}),
        ("max", {"neon", "dotprod", "fullfp16", "fp16fml", "lse", "i8mm", "bf16", "sve"}, set()),
    ],
    ids=["cortex-a53", "cortex-a76", "max"],
)
def test_an_emulated_cpu_reports_its_own(
    cpu, has, has_not, aarch64_emulator, aarch64_kit, tmp_path
):
    from edgeweave.targets.devices.address import Address
    from edgeweave.targets.devices.identity import hello
    from edgeweave.targets.kit.emulate import emulated_device

    options = ["--port", "0", "--state", str(tmp_path / "state")]
    log = tmp_path / "log"
    with emulated_device(aarch64_emulator, aarch64_kit, log, options, cpu=cpu) as device:
        found = hello(Address(device.host, device.port), 30.0).features
    assert has <= set(found)
    assert not has_not & set(found)
