"""Bundles for boards of this machine's architecture whose CPU is another one, or none at all."""

from __future__ import annotations

import json
import platform

import pytest

BOARD = """name = "rack"
description = "a board of this machine's architecture"

[memory]
dram_gb_s = { value = 10.0, origin = "chosen: a test" }

[[engine]]
name = "big"
kind = "cpu"
description = "one core"
backends = ["cpu"]
cores = [0]
llvm_target = TARGET
peak_float32_gops = { value = 50.0, origin = "chosen: a test" }
compute_efficiency = { value = 0.5, origin = "chosen: a test" }
memory_efficiency = { value = 0.5, origin = "chosen: a test" }
call_overhead_us = { value = 20, origin = "chosen: a test" }
"""
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the boards are x86 ones")


@pytest.fixture
def compiled(edgeweave, model, tmp_path):
    """Compile the small model for a board with one CPU of that target."""

    def run(target):
        board = tmp_path / "rack.toml"
        board.write_text(BOARD.replace("TARGET", target))
        path = tmp_path / "rack.bundle"
        return edgeweave("compile", model, "--board", board, "-o", path), path

    return run


@x86
def test_code_for_a_plain_cpu_runs_here_and_is_not_said_to_be_of_its_board(edgeweave, compiled):
    made, path = compiled('{ mtriple = "x86_64-linux-gnu", mcpu = "x86-64" }')
    assert made.status == 0, made.err
    said = edgeweave("run", path, "--frames", "3", "--verify")
    assert said.status == 0, said.err
    assert "measured on this machine, which is not known to be rack" in said.out.splitlines()
    assert "verification against ONNX Runtime: passed" in said.out
    shown = json.loads(edgeweave("run", path, "--frames", "3", "--json").out)
    assert (shown["measurement"]["word"], shown["board_known"]) == ("measured", False)


@x86
def test_code_for_a_cpu_with_more_than_this_one_is_refused_before_it_runs(edgeweave, compiled):
    from edgeweave.runtime.cpu_features import machine_features

    wanted = {"amx-bf16", "amx-int8", "amx-tile", "avx512bf16", "avx512fp16"}
    lacking = wanted - machine_features()
    if not lacking:
        pytest.skip("this machine has them all")
    made, path = compiled('{ mtriple = "x86_64-linux-gnu", mcpu = "sapphirerapids" }')
    assert made.status == 0, made.err
    said = edgeweave("run", path)
    assert (said.status, said.out) == (5, "")
    message = said.err.splitlines()[-1]
    assert "is compiled for sapphirerapids and uses amx-bf16, " in message
    assert "which the CPU of this machine lacks" in message
    assert all(name in message for name in lacking)
    assert not any(f" {name}," in message for name in machine_features())


def test_a_bundle_that_was_compiled_here_is_known_to_be_of_this_machine(edgeweave, bundle):
    said = edgeweave("run", bundle, "--frames", "3")
    assert "not known to be" not in said.out
    shown = json.loads(edgeweave("run", bundle, "--frames", "3", "--json").out)
    assert shown["board_known"] is True


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (
            '{ mtriple = "aarch64-linux-gnu", mcpu = "cortex-a67" }',
            "LLVM knows no CPU 'cortex-a67' of aarch64 (mcpu). Near it are cortex-a78, ",
        ),
        (
            '{ mtriple = "aarch64-linux-gnu", mcpu = "cortex-a55", mattr = ["+dotprood"] }',
            "LLVM knows no CPU of aarch64 with the feature 'dotprood' (mattr). Near it are dotprod",
        ),
    ],
)
def test_a_cpu_that_llvm_does_not_know_is_a_fault_of_the_board(target, told, compiled):
    said, path = compiled(target)
    assert (said.status, said.out) == (3, "")
    message = said.err.splitlines()[-1]
    assert "llvm_target of engine big" in message
    assert "Using LLVM" not in said.err  # its own warning
    assert told in message
    assert not path.exists()
