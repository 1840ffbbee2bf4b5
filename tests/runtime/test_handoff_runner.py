from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.machine import run_word
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import find_loader
from edgeweave.runtime.spec import ValueSpec

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (int8[4] x) => (int8[4] y) <float s = {0.5}, int8 z = {3}, float t = {0.25}> {
  r = DequantizeLinear(x, s, z)
  p = Relu(r)
  y = QuantizeLinear(p, t, z)
}"""


def entry(options: dict[str, object]) -> StageEntry:
    x, y = (ValueSpec(name, "tensor(int8)", (4,)) for name in "xy")
    return StageEntry(
        name="s0",
        engine="npu0",
        backend="handoff",
        cores=(),
        kind="handoff",
        folder="stages/s0",
        files=("stage.onnx",),
        inputs=(x,),
        outputs=(y,),
        options=options,
        predicted_s=1e-3,
        host_run="reference",
    )


LEFT = {"tool": "rknn", "step": "python convert.py", "produces": "stage.rknn", "done": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "stage.onnx")
    return tmp_path


def test_the_model_runs_in_place_of_the_vendors_file(folder: Path) -> None:
    stage = entry(LEFT)
    runner = find_loader(stage, {})(stage, folder, ())
    (result,) = runner.run([np.array([1, 3, 5, 100], np.int8)])
    assert result.tolist() == [3, 3, 7, 127]
    runner.close()
    assert run_word([stage]) == "reference"


@pytest.mark.parametrize("done", [True, None, "no", 0])
def test_a_stage_that_is_not_said_to_be_open_is_not_run_as_one(folder: Path, done: object) -> None:
    stage = entry(LEFT | {"done": done})
    with pytest.raises(BundleError, match="stage s0: is said to be compiled by rknn, and this"):
        find_loader(stage, {})(stage, folder, ())


def test_a_stage_without_options_is_not_run_either(folder: Path) -> None:
    stage = entry({})
    with pytest.raises(BundleError, match="compiled by a vendor's tool"):
        find_loader(stage, {})(stage, folder, ())
