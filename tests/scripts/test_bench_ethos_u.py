"""The benchmark of published networks on Ethos-U NPUs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_ethos_u.py"


def test_small_networks_are_whole_on_every_npu_and_equal_in_every_bit(tmp_path: Path) -> None:
    found = tmp_path / "rows.json"
    command = [sys.executable, SCRIPT, "resnet8", "ds_cnn", "--json", found]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(found.read_text())
    assert [(row["network"], row["accelerator"]) for row in rows] == [
        (network, f"ethos-{kind}")
        for network in ("resnet8", "ds_cnn")
        for kind in ("u55-128", "u65-256", "u85-512")
    ]
    for row in rows:
        assert row["cpu_operators"] == 0
        assert row["values"] > 0
        assert row["differing"] == 0
        assert row["steps"] <= 2
        assert row["estimated_ms"] > 0
    assert done.stdout.count("\n") == 2 + len(rows)


@pytest.mark.long
@pytest.mark.parametrize(
    "network", ["mobilenet_v1_025_96", "autoencoder", "mobilenet_v2_224", "resnet50_224"]
)
def test_larger_networks_too(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    bench = importlib.import_module(SCRIPT.stem)
    accelerators = bench.SETTINGS if network in bench.TINY else ["ethos-u65-256"]
    for row in bench.measure(network, accelerators):
        assert (row.cpu_operators, row.differing) == (0, 0)
        assert row.steps <= 2
