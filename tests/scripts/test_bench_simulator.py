"""The comparison of simulated and real runs, on a small model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/bench_simulator.py"
LAYERS = "".join(f"v{i + 1} = Conv<pads = [1,1,1,1]>(v{i}, w)\n" for i in range(6))
MODEL = f"""<ir_version: 10, opset_import: ["": 18]>
g (float[1,8,64,64] v0) => (float[1,8,64,64] v6)
<float[8,8,3,3] w = {{{", ".join(["0.01"] * 8 * 8 * 9)}}}> {{ {LAYERS} }}"""

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core has nothing to overlap with"
)


def bench(*arguments: str) -> str:
    command = [sys.executable, str(SCRIPT), *arguments, "--backend", "onnxruntime"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bench") / "six.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return str(path)


def test_every_ratio_is_of_a_simulated_and_a_measured_figure(model: str) -> None:
    (found,) = json.loads(bench(model, "--frames", "8", "--rounds", "2", "--json"))
    assert (found["model"], found["frames"], len(found["rounds"])) == ("six.onnx", 8, 2)
    assert {stage.split("/")[0] for stage in found["stages"]} == {"cpu0", "cpu1"}
    for times in ("alone", "overlapped"):
        ratios = found["ratios"][times]
        first = found["rounds"][0]
        ratio = first["simulated_full"][times]["interval_s"] / first["full"]["interval_s"]
        told = ratios["full, interval"]
        assert told["lowest"] * (1 - 1e-9) <= ratio <= told["highest"] * (1 + 1e-9)
        assert set(ratios) == {
            f"{kind}, {name}" for kind in ("full", "fed") for name in ("interval", "p50", "p99")
        }
        # A simulated interval is made of the stage times it is given.
        longest = max(first["stage_s"][times])
        assert (
            0.3 * longest
            < first["simulated_full"][times]["interval_s"]
            < 3 * sum(first["stage_s"][times])
        )


@pytest.mark.parametrize("options", [[], ["--wait"]])
def test_the_text_states_spreads(model: str, options: list[str]) -> None:
    told = bench(model, "--frames", "4", "--rounds", "1", *options)
    assert told.startswith("1 rounds of 4 frames: median (lowest … highest)\n\nsix.onnx: stages ")
    assert told.count("full, p99") == told.count("fed, interval") == 1
    assert "(1 core)" in told
