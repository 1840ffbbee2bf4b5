"""The benchmarks run on a small model, and their tables are what they say."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
LAYERS = "".join(f"v{i + 1} = Conv<pads = [1,1,1,1]>(v{i}, w)\n" for i in range(6))
MODEL = f"""<ir_version: 10, opset_import: ["": 18]>
g (float[1,8,64,64] v0) => (float[1,8,64,64] v6)
<float[8,8,3,3] w = {{{", ".join(["0.01"] * 8 * 8 * 9)}}}> {{ {LAYERS} }}"""

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core has nothing to overlap with"
)


def bench(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bench") / "six.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return str(path)


@pytest.fixture(scope="module")
def found(model: str) -> dict[str, Any]:
    told = bench("bench_pipeline.py", model, "--frames", "4", "--rounds", "3", "--json")
    read: dict[str, Any] = json.loads(told)
    return read


def test_the_benchmark_explains_the_periods_it_measured(found: dict[str, Any]) -> None:
    assert (found["model"], found["regions"]) == ("six.onnx", 6)
    assert {stage.split("/")[0] for stage in found["stages"]} == {"cpu0", "cpu1"}
    assert len(found["rounds"]) == 3
    sequential, pipelined = (sum(parts.values()) for parts in found["terms_ms"].values())
    assert sequential / pipelined == pytest.approx(found["gain"]["median"])
    assert 1 <= found["bound"]["median"] <= 2
    assert set(found["onnxruntime"]) == {"1", "2"}


def test_the_table_of_models_has_a_cell_for_every_column(found: dict[str, Any]) -> None:
    models = runpy.run_path(str(SCRIPTS / "bench_models.py"))
    row = models["row"](found)
    assert row.startswith("| `six.onnx` | 6 | cpu")
    assert row.count("|") == models["HEAD"].count("|")


def test_the_benchmark_prints_its_terms_and_their_sum(model: str) -> None:
    told = bench(
        "bench_pipeline.py", model, "--frames", "3", "--rounds", "1", "--backend", "onnxruntime"
    )
    assert "pipelined / sequential throughput" in told
    assert told.count("  together ") == 2
    assert "cpu0/onnxruntime" in told
