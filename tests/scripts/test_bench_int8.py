"""The benchmark of int8 runs on a small model, and float layers are what their int8 ones are."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_int8.py"
MODEL = f"""<ir_version: 10, opset_import: ["": 18]>
g (float[1,3,12,20] x) => (float[1,4,12,20] y)
<float[4,3,3,3] w = {{{", ".join(f"{(n * 7) % 11 - 5}" for n in range(108))}}}> {{
    a = Conv<pads = [1,1,1,1]>(x, w)
    y = Relu(a)
}}"""
LAYER = """<ir_version: 10, opset_import: ["": 18]>
g (int8[1,2] x) => (int8[1,3] y)
<float s = {1.0}, int8 z = {0}, int8[2,3] w = {1,2,3,4,5,6}, float t = {0.01}> {
    a = DequantizeLinear(x, s, z)
    b = DequantizeLinear(w, t, z)
    c = MatMul(a, b)
    y = QuantizeLinear(c, s, z)
}"""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_a_layer_in_float_multiplies_by_its_weights(script: dict[str, Any]) -> None:
    from onnx.reference import ReferenceEvaluator

    made = script["in_float"](onnx.parser.parse_model(LAYER))
    onnx.checker.check_model(made, full_check=True)
    (got,) = ReferenceEvaluator(made).run(None, {"x": np.array([[1, 10]], np.float32)})
    np.testing.assert_allclose(got, np.array([[0.41, 0.52, 0.63]]), rtol=1e-6)


def test_a_row_has_a_cell_for_every_column(script: dict[str, Any]) -> None:
    taken = [[2.0] * 3, [4.0] * 3, [8.0] * 3, [1.0] * 3]
    row = script["Times"]("m", 1, taken, 0.5, 0.25).row()
    assert row.startswith("| m | 1 | 2 (2 … 2) | 4 (4 … 4) |")
    assert row.endswith("| 0.50 | 2.00 | 8.00 | 50.00%, 25.00% |")
    assert row.count("|") == script["head"]("model").splitlines()[0].count("|")


@pytest.mark.long
def test_the_benchmark_times_the_layers_of_a_model(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "one.onnx")
    words = [str(tmp_path / "one.onnx"), "--layers", "--cores", "1", "--rounds", "2"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()[2:]
    assert len(rows) == 1
    assert rows[0].startswith("| Conv 1×3×12×20 × 4×3×3×3")
