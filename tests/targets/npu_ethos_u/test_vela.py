"""Vela on the three generations: equal to its own command line, memoised, and what it refuses."""

import csv
import subprocess
import sys

import pytest

from edgeweave.targets.npu_ethos_u.accelerator import read_accelerator
from edgeweave.targets.npu_ethos_u.errors import (
    CpuOperatorsError,
    SramTooSmallError,
    VelaMissingError,
    VelaProcessError,
)
from edgeweave.targets.npu_ethos_u.installed import vela_version
from edgeweave.targets.npu_ethos_u.memo import Memo
from edgeweave.targets.npu_ethos_u.vela import Vela
from edgeweave.targets.npu_ethos_u.vela_process import VelaProcess


class Unused:
    """A process that must not be asked."""

    def compile(self, blob, request, subject):
        raise AssertionError(subject)


@pytest.fixture
def vela(process, empty_cache):
    """Vela with nothing in its memo."""
    return Vela(process, Memo())


def summary(blob, folder, accelerator, kib):
    """What Vela's own command line makes of the model: its summary and the compiled model."""
    (folder / "stage.tflite").write_bytes(blob)
    command = [sys.executable, "-m", "ethosu.vela", folder / "stage.tflite"]
    command += ["--output-dir", folder, "--accelerator-config", accelerator.name]
    command += ["--config", "Arm/vela.ini", "--system-config", accelerator.system_config]
    command += ["--memory-mode", accelerator.memory_mode]
    command += ["--arena-cache-size", str(int(kib) * 1024)] if kib else []
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with (folder / f"stage_summary_{accelerator.system_config}.csv").open() as file:
        (row,) = csv.DictReader(file)
    return row, (folder / "stage_vela.tflite").read_bytes()


@pytest.mark.parametrize(
    ("generation", "mode", "kib"),
    [
        ("u55", "Shared_Sram", None),
        ("u65", "Dedicated_Sram_384KB", None),
        ("u85", "Dedicated_Sram_384KB", None),
        ("u85", "Shared_Sram", "60"),
        ("u55", "Sram_Only", None),
    ],
)
def test_the_result_is_the_command_lines(npu, vela, conv_blob, tmp_path, generation, mode, kib):
    engine = npu(generation, memory_mode=mode, arena_cache_kib=kib)
    accelerator = read_accelerator(engine)
    found = vela.compile(conv_blob, accelerator, "s0")
    row, model = summary(conv_blob, tmp_path, accelerator, kib)
    report = found.report
    assert report["total_cycles"] == float(row["cycles_total"])
    assert report["npu_cycles"] == float(row["cycles_npu"])
    assert report["seconds"] == pytest.approx(float(row["inference_time"]), rel=1e-9)
    assert report["core_clock_hz"] == float(row["core_clock"])
    assert report["arena_limit_bytes"] == 1024 * float(row["arena_cache_size"])
    if mode != "Sram_Only":  # the summary counts weights in SRAM as flash there
        assert report["memories"]["Sram"]["peak_bytes"] == 1024 * float(row["sram_memory_used"])
    assert report["macs"] == int(row["nn_macs"])
    assert found.model == model


def test_the_report_holds_every_setting_and_the_bytes(npu, vela, conv_blob):
    report = vela.compile(conv_blob, read_accelerator(npu("u65")), "s0").report
    settings = {
        "tool": "vela",
        "version": vela_version(),
        "accelerator": "ethos-u65-256",
        "system_config": "Ethos_U65_High_End",
        "memory_mode": "Dedicated_Sram_384KB",
        "core_clock_hz": 1e9,
        "arena_limit_bytes": 393216,
    }
    assert settings.items() <= report.items()
    assert report["macs"] == 32 * 32 * 32 * 16 * 9
    assert (report["npu_ops"], report["cpu_ops"], report["cpu_operators"]) == (1, 0, [])
    assert report["seconds"] == report["total_cycles"] / 1e9 > 0
    assert report["memories"]["Dram"]["accesses"]["FeatureMap"]["written_bytes"] > 0


def test_what_was_compiled_is_not_compiled_again(npu, vela, conv_blob):
    accelerator = read_accelerator(npu())
    made = vela.compile(conv_blob, accelerator, "s0")
    assert Vela(Unused(), Memo()).compile(conv_blob, accelerator, "s1") == made


@pytest.mark.parametrize("change", ["model", "arena", "mode", "version"])
def test_a_change_of_anything_is_compiled_anew(npu, vela, conv_blob, monkeypatch, change):
    vela.compile(conv_blob, read_accelerator(npu()), "s0")
    blob, engine = conv_blob, npu()
    if change == "model":
        blob += b"\0"
    elif change == "arena":
        engine = npu(arena_cache_kib="383")
    elif change == "mode":
        engine = npu(memory_mode="Dedicated_Sram_256KB")
    else:
        monkeypatch.setattr("edgeweave.targets.npu_ethos_u.vela.vela_version", lambda: "5.3.0")
    with pytest.raises(AssertionError, match="s1"):
        Vela(Unused(), Memo()).compile(blob, read_accelerator(engine), "s1")


def test_a_damaged_entry_is_compiled_anew(npu, vela, conv_blob, empty_cache, process):
    accelerator = read_accelerator(npu())
    made = vela.compile(conv_blob, accelerator, "s0")
    (path,) = (empty_cache / "ethos-u").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert Vela(process, Memo()).compile(conv_blob, accelerator, "s0") == made
    assert path.read_bytes() == whole


def test_operators_left_to_a_cpu_are_counted_and_named_with_velas_reason(npu, vela, float_blob):
    accelerator = read_accelerator(npu())
    words = (
        r"s0: Vela leaves 1 of its operators to a CPU \(Quantize 'y'\); it said: .*"
        r"Reason: Operation has tensor with unsupported DataType Float32"
    )
    with pytest.raises(CpuOperatorsError, match=words) as caught:
        vela.compile(float_blob, accelerator, "s0")
    assert caught.value.operators == ("Quantize 'y'",)
    with pytest.raises(CpuOperatorsError, match=words):  # from the memo too
        Vela(Unused(), Memo()).compile(float_blob, accelerator, "s0")


def test_many_operators_are_not_all_named():
    error = CpuOperatorsError("s0", tuple(f"Op '{n}'" for n in range(9)))
    assert "leaves 9 of its operators to a CPU (Op '0', Op '1', Op '2', Op '3' and 5 more)" in str(
        error
    )


@pytest.mark.parametrize(
    ("settings", "sram_bytes", "words"),
    [
        (
            {"memory_mode": "Shared_Sram", "arena_cache_kib": "8"},
            None,
            r"s0: it needs 48 KiB of SRAM at one time, and the arena of its settings is 8 KiB "
            r"\(memory mode Shared_Sram\)\. Name",
        ),
        ({"memory_mode": "Shared_Sram"}, 20480, "the engine's memory_mib is 20 KiB"),
        ({"memory_mode": "Sram_Only", "arena_cache_kib": "8"}, 2**20, "its settings is 8 KiB"),
        ({}, 1024, "needs 6 KiB of SRAM at one time, and the engine's memory_mib is 1 KiB"),
    ],
)
def test_too_little_sram_is_an_error(npu, vela, conv_blob, settings, sram_bytes, words):
    with pytest.raises(SramTooSmallError, match=words):
        vela.compile(conv_blob, read_accelerator(npu(**settings)), "s0", sram_bytes)


def test_enough_sram_is_none(npu, vela, conv_blob):
    engine = npu(memory_mode="Shared_Sram", arena_cache_kib="54")
    peak = vela.compile(conv_blob, read_accelerator(engine), "s0").report["memories"]["Sram"]
    assert vela.compile(conv_blob, read_accelerator(engine), "s0", peak["peak_bytes"])
    with pytest.raises(SramTooSmallError):
        vela.compile(conv_blob, read_accelerator(engine), "s0", peak["peak_bytes"] - 1)


def test_a_crash_is_not_remembered(npu, vela, empty_cache):
    for _ in range(2):
        with pytest.raises(VelaProcessError, match="SIGSEGV"):
            vela.compile(b"nonsense" * 9, read_accelerator(npu()), "s0")
    assert not (empty_cache / "ethos-u").exists()


def test_without_vela_the_extra_is_named(npu, vela, conv_blob, request):
    accelerator = read_accelerator(npu())
    request.getfixturevalue("nothing_installed")
    with pytest.raises(VelaMissingError, match=r"s0: Vela and LiteRT .*'edgeweave\[ethos-u\]'"):
        vela.compile(conv_blob, accelerator, "s0")


def test_closing_ends_the_process(npu, conv_blob, empty_cache):
    process = VelaProcess()
    vela = Vela(process, Memo())
    vela.compile(conv_blob, read_accelerator(npu()), "s0")
    assert process._process is not None
    vela.close()
    assert process._process is None
