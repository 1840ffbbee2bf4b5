"""Settings of an accelerator: what they become, and what is said of wrong ones."""

import configparser

import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.accelerator import (
    ACCELERATORS,
    find_architecture,
    read_accelerator,
)
from edgeweave.targets.npu_ethos_u.errors import VelaMissingError


@pytest.mark.parametrize(
    ("generation", "architecture", "macs", "clock_hz", "arena_bytes"),
    [
        ("u55", "EthosU55", 128, 500e6, 2**32),
        ("u65", "EthosU65", 256, 1e9, 393216),
        ("u85", "EthosU85", 512, 1e9, 393216),
    ],
)
def test_the_three_generations(npu, generation, architecture, macs, clock_hz, arena_bytes):
    found = read_accelerator(npu(generation))
    assert (found.architecture, found.macs, found.cores) == (architecture, macs, 1)
    assert (found.core_clock_hz, found.arena_limit_bytes) == (clock_hz, arena_bytes)


def test_the_text_for_the_compiler_is_an_ini_file_with_the_chosen_names(npu):
    ini = configparser.ConfigParser()
    ini.read_string(read_accelerator(npu("u65", accelerator="ethos-u65-512")).system_text())
    assert dict(ini["architecture"]) == {"macs": "256", "cores": "2"}
    assert ini["vela"]["system_config_name"] == "Ethos_U65_High_End"
    assert ini["vela"]["memory_mode_name"] == "Dedicated_Sram_384KB"
    assert ini["System_Config.Ethos_U65_High_End"]["core_clock"] == "1e9"


def test_the_accelerators_are_those_of_vela():
    from ethosu.vela.architecture_features import Accelerator, ArchitectureFeatures

    assert set(ACCELERATORS) == set(Accelerator.member_list())
    for name, config in ArchitectureFeatures.accelerator_configs.items():
        assert ACCELERATORS[name.value][1:] == (config.macs, config.cores)


@pytest.mark.parametrize(
    ("mode", "kib", "arena_bytes"),
    [
        ("Dedicated_Sram_512KB", None, 524288),
        ("Dedicated_Sram_512KB", "96", 98304),
        ("Dedicated_Sram", None, 2**40),
        ("Sram_Only", "2048", 2**21),
    ],
)
def test_the_arena_is_the_boards_then_the_modes_then_endless(npu, mode, kib, arena_bytes):
    engine = npu("u65", memory_mode=mode, arena_cache_kib=kib)
    assert read_accelerator(engine).arena_limit_bytes == arena_bytes


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"accelerator": None}, r"vendor lacks accelerator\. It must have accelerator, system_c"),
        ({"system_config": None}, "vendor lacks system_config"),
        ({"memory_mode": None}, "vendor lacks memory_mode"),
        ({"speed": "fast"}, r"unknown key 'speed'\. Known: accelerator, .*arena_cache_kib"),
        (
            {"accelerator": "ethos-u65-128"},
            r"Vela has no accelerator 'ethos-u65-128'\. It has .*ethos-u65-256, ethos-u65-512",
        ),
        (
            {"system_config": "High_End"},
            r"no system_config 'High_End' for ethos-u65-256\. It has Ethos_U65_Embedded, Eth",
        ),
        ({"system_config": "Ethos_U55_High_End_Embedded"}, "for ethos-u65-256. It has Ethos_U65_E"),
        ({"memory_mode": "Dedicated"}, r"no memory_mode 'Dedicated'\. It has Sram_Only, Shared_Sr"),
        ({"arena_cache_kib": "384.5"}, "arena_cache_kib is '384.5'. It must be a whole number"),
        ({"arena_cache_kib": "0"}, "arena_cache_kib is '0'"),
        ({"arena_cache_kib": "²"}, "arena_cache_kib is '²'"),
        ({"arena_cache_kib": "1073741825"}, "from 1 to 1073741824"),
        (
            {"system_config": "Ethos_U65_Embedded", "memory_mode": "Dedicated_Sram_384KB"},
            r"puts the arena into OffChipFlash .*\. Choose one of Sram_Only, Shared_Sram$",
        ),
    ],
)
def test_wrong_settings_are_named_with_what_there_is(npu, settings, words):
    with pytest.raises(TargetError, match=words) as caught:
        read_accelerator(npu("u65", **settings))
    assert str(caught.value).startswith("engine npu: ")


@pytest.mark.usefixtures("nothing_installed")
def test_without_vela_the_settings_cannot_be_read_and_the_architecture_can(npu):
    with pytest.raises(VelaMissingError, match=r"engine npu: .*pip install 'edgeweave\[ethos-u\]'"):
        read_accelerator(npu())
    assert find_architecture(npu("u85")) == "EthosU85"


@pytest.mark.parametrize("name", [None, "ethos-n78"])
def test_an_engine_that_names_no_ethos_u_has_no_architecture(npu, name):
    assert find_architecture(npu(accelerator=name)) is None
