from dataclasses import replace

import pytest

from edgeweave.compiler.devices.crew import other_kind
from edgeweave.targets.devices.identity import Cpu, Identity, Limits

FIRST = Identity(
    name="rack-01",
    key="rk3588",
    arch="aarch64",
    cpus=(Cpu(0, "cortex-a55", 1800.0, "performance"), Cpu(1, "cortex-a76", 2400.0, None)),
    features=("dotprod",),
    memory_mib=3900.0,
    serial="1",
    emulated="",
    versions={},
    runners=("tvm",),
    limits=Limits(3600.0, 512.0, 2048.0),
    free_mib=100.0,
    temperature_c=41.0,
    busy=None,
    ended=(),
    match="m",
)


def test_another_device_with_the_same_cpus_is_of_the_same_kind():
    other = replace(FIRST, name="rack-02", serial="2", temperature_c=60.0, free_mib=1.0)
    assert other_kind(FIRST, FIRST) == ""
    assert other_kind(FIRST, other) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"arch": "arm"},
        {"cpus": FIRST.cpus[:1]},
        {"cpus": tuple(reversed(FIRST.cpus))},
        {"emulated": "qemu-user"},
        {"runners": ("tvm", "onnxruntime")},
    ],
)
def test_a_device_of_another_kind_is_left_out_and_told_why(change):
    text = other_kind(FIRST, replace(FIRST, name="rack-02", **change))
    assert text.startswith("rack-02 (")
    assert "is not the same kind as rack-01 (aarch64, 1x cortex-a55, 1x cortex-a76), meas" in text
