"""Engines with the settings of the three generations, and small TFLite models for Vela."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.npu_ethos_u.emit.flatbuffer import FlatbufferWriter
from edgeweave.targets.npu_ethos_u.vela_process import VelaProcess

ONE = Quantity(1.0, "test")
# generation -> settings of the vendor's compiler
SETTINGS = {
    "u55": {
        "accelerator": "ethos-u55-128",
        "system_config": "Ethos_U55_High_End_Embedded",
        "memory_mode": "Shared_Sram",
    },
    "u65": {
        "accelerator": "ethos-u65-256",
        "system_config": "Ethos_U65_High_End",
        "memory_mode": "Dedicated_Sram_384KB",
    },
    "u85": {
        "accelerator": "ethos-u85-512",
        "system_config": "Ethos_U85_SYS_DRAM_Mid",
        "memory_mode": "Dedicated_Sram_384KB",
    },
}


@pytest.fixture(scope="session")
def npu() -> Callable[..., Engine]:
    """An NPU: ``npu("u65", memory_mode="Sram_Only")``; None leaves a setting out."""

    def make(
        generation: str = "u65",
        kind: str = "npu",
        memory_mib: float | None = None,
        **settings: str | None,
    ) -> Engine:
        vendor = {**SETTINGS[generation], **settings}
        return Engine(
            "npu",
            kind,
            "",
            ("npu_ethos_u",),
            {"int8": ONE},
            ONE,
            ONE,
            ONE,
            memory_mib=None if memory_mib is None else Quantity(memory_mib, "test"),
            vendor={key: value for key, value in vendor.items() if value is not None},
        )

    return make


@pytest.fixture(scope="session")
def conv_blob() -> bytes:
    """A convolution of 3 x 3, 32 x 32 x 16 to 32 channels, with Relu: 49 KiB of feature maps."""
    draw = np.random.default_rng(1)
    writer = FlatbufferWriter()
    x = writer.tensor("x", (1, 32, 32, 16), "int8", [0.023], -5)
    y = writer.tensor("y", (1, 32, 32, 32), "int8", [0.11], -128)
    scales = draw.uniform(0.001, 0.01, 32).astype(np.float32)
    weights = draw.integers(-127, 128, (32, 3, 3, 16)).astype(np.int8)
    bias = draw.integers(-20000, 20000, 32).astype(np.int32)
    operands = [
        x,
        writer.constant("w", weights, scales),
        writer.constant("b", bias, scales * 0.023),
    ]
    fields = {"padding": 0, "strideH": 1, "strideW": 1, "fusedActivationFunction": 1}
    fields |= {"dilationHFactor": 1, "dilationWFactor": 1}
    writer.operator("CONV_2D", operands, [y], 3, "Conv2DOptions", fields)
    return writer.finish([x], [y])


@pytest.fixture(scope="session")
def float_blob() -> bytes:
    """Floats to int8, then Relu: the first has no place on the NPU."""
    writer = FlatbufferWriter()
    x = writer.tensor("x", (1, 8, 8, 4), "float32")
    y, z = (writer.tensor(name, (1, 8, 8, 4), "int8", [0.1]) for name in "yz")
    writer.operator("QUANTIZE", [x], [y], 1, "QuantizeOptions")
    writer.operator("RELU", [y], [z], 2)
    return writer.finish([x], [z])


@pytest.fixture(scope="session")
def process() -> Iterator[VelaProcess]:
    """A process of Vela's for all tests that leave it as it is."""
    shared = VelaProcess()
    yield shared
    shared.close()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vela and LiteRT cannot be found."""
    for module in ("ethosu", "ai_edge_litert"):
        monkeypatch.setitem(sys.modules, module, None)
