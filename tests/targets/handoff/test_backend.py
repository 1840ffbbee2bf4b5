import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import onnx
import pytest

from edgeweave.targets.errors import BuildError
from edgeweave.targets.handoff import BACKEND
from edgeweave.targets.handoff.tools import TOOLS

RESULTS = {
    "rknn": ("stage.rknn", {"convert.py", "stage_float_io.onnx"}),
    "tidl": ("stage_tidl/", {"compile.py", "compile_options.json", "stage_float_io.onnx"}),
    "qnn": ("stage.bin", {"qnn_config.json", "htp_config.json"}),
    "dla": ("stage.engine", {"stage_float.onnx", "stage.cache"}),
    "vip8000": ("stage.tflite", set()),
}


@pytest.fixture
def built(make_npu, vendor, stage, tmp_path):
    return BACKEND.build(stage, None, make_npu(vendor), tmp_path / "new")


def test_the_artifact_is_a_reference_with_a_step_left_to_do(built, vendor):
    result, files = RESULTS[vendor["tool"]]
    assert (built.kind, built.host_run, built.estimate) == ("handoff", "reference", None)
    assert set(built.files) == {"stage.onnx", "handoff.json", "HANDOFF.md"} | files
    assert {path.name for path in built.folder.iterdir()} == set(built.files)
    assert set(built.options) == {"tool", "step", "produces", "done"}
    assert (built.options["tool"], built.options["produces"]) == (vendor["tool"], result)
    assert built.options["done"] is False


def test_nothing_is_there_under_the_name_of_the_vendors_file(built):
    for step in json.loads((built.folder / "handoff.json").read_text("utf-8"))["steps"]:
        assert step["produces"].rstrip("/") not in built.files
        assert not (built.folder / step["produces"]).exists()


def test_the_model_is_valid_and_computes_what_the_stage_does(built, stage, run, frame):
    model = onnx.load(built.folder / "stage.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(run(model, {"x": frame})[0], run(stage.model, {"x": frame})[0])


def test_the_instructions_name_every_command_and_what_was_checked(built, vendor):
    tool = TOOLS[vendor["tool"]]
    text = (built.folder / "HANDOFF.md").read_text("utf-8")
    data = json.loads((built.folder / "handoff.json").read_text("utf-8"))
    assert (data["tool"], data["stage"], data["engine"]) == (tool.name, "s0", "npu0")
    assert data["done"] is False
    assert f"`{data['produces']}` does not exist yet" in text
    assert "Not verified here" in data["verified"]
    for told in (
        *(step["command"] for step in data["steps"]),
        *data["remarks"],
        *data["limits"],
        *data["sources"],
        data["verified"],
    ):
        assert told in text
    assert " && ".join(step["command"] for step in data["steps"]) == built.options["step"]


def test_the_instructions_carry_the_digests_of_what_the_commands_read(built):
    data = json.loads((built.folder / "handoff.json").read_text("utf-8"))
    assert set(data["files"]) == set(built.files) - {"handoff.json", "HANDOFF.md"}
    for name, digest in data["files"].items():
        assert hashlib.sha256((built.folder / name).read_bytes()).hexdigest() == digest


def test_equal_stages_are_written_as_equal_bytes(built, make_npu, vendor, stage, tmp_path):
    again = BACKEND.build(stage, None, make_npu(vendor), tmp_path / "again")
    for name in built.files:
        assert (built.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_files_that_a_command_names_are_there(built):
    step = built.options["step"]
    for name in built.files:
        if name.endswith((".py", ".cache")):
            assert name in step
    for word in step.replace("=", " ").split():
        if word.startswith("stage") and word.endswith(".onnx"):
            assert word in built.files


@pytest.mark.parametrize("tool", ["rknn", "tidl"])
def test_the_generated_script_calls_the_tool_in_order(make_npu, vendors, stage, tmp_path, tool):
    """A stand-in for the vendor's library records its calls: the script is what runs."""
    artifact = BACKEND.build(stage, None, make_npu(vendors[tool]), tmp_path / "stage")
    for package, code in STAND_INS[tool].items():
        path = tmp_path / "library" / package
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    script = artifact.options["step"].removeprefix("python ")
    done = subprocess.run(
        [sys.executable, script],
        cwd=artifact.folder,
        env={"PYTHONPATH": str(tmp_path / "library"), "TIDL_TOOLS_PATH": "/tools"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == CALLS[tool]


STAND_INS = {
    "rknn": {
        "rknn/__init__.py": "",
        "rknn/api.py": """
class RKNN:
    def __init__(self, **settings): pass
    def __getattr__(self, name):
        return lambda *a, **k: print(name, a, sorted(k.items())) or 0
""",
    },
    "tidl": {
        "onnxruntime.py": """
from types import SimpleNamespace
class InferenceSession:
    def __init__(self, model, providers, provider_options):
        options = provider_options[0]
        print(model, providers, options["tidl_tools_path"], options["artifacts_folder"])
        print(options["advanced_options:prequantized_model"], options["tensor_bits"])
    def get_inputs(self): return [SimpleNamespace(name="x", shape=[1, 8, 6, 6])]
    def run(self, outputs, feeds): print(outputs, feeds["x"].shape, feeds["x"].dtype)
""",
    },
}
CALLS = {
    "rknn": [
        "config () [('single_core_mode', True), ('target_platform', 'rk3588')]",
        "load_onnx () [('model', 'stage_float_io.onnx')]",
        "build () [('do_quantization', False)]",
        "export_rknn ('stage.rknn',) []",
        "release () []",
    ],
    "tidl": [
        "stage_float_io.onnx ['TIDLCompilationProvider', 'CPUExecutionProvider'] /tools stage_tidl",
        "1 8",
        "None (1, 8, 6, 6) float32",
    ],
}


def test_a_script_ends_when_the_tool_fails(make_npu, vendors, stage, tmp_path):
    artifact = BACKEND.build(stage, None, make_npu(vendors["rknn"]), tmp_path / "stage")
    (tmp_path / "rknn").mkdir()
    (tmp_path / "rknn" / "__init__.py").write_text("")
    code = STAND_INS["rknn"]["rknn/api.py"].replace("or 0", 'or (name == "build")')
    (tmp_path / "rknn" / "api.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "convert.py"],
        cwd=artifact.folder,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "RKNN-Toolkit2 failed" in done.stderr
    assert "export_rknn" not in done.stdout


def test_the_calibration_cache_holds_every_scale_bit_for_bit(
    make_npu, vendors, make_model, make_stage, tmp_path
):
    stage = make_stage(make_model(0))
    artifact = BACKEND.build(stage, None, make_npu(vendors["dla"]), tmp_path)
    head, *lines = (artifact.folder / "stage.cache").read_text("utf-8").splitlines()
    assert head == "TRT-8600-EntropyCalibration2"
    scales = {name: bytes.fromhex(bits) for name, bits in (line.split(": ") for line in lines)}
    read = {name: float(np.frombuffer(bits, ">f4")[0]) for name, bits in scales.items()}
    assert read == pytest.approx({"x": 0.05, "y_real": 0.2, "sum": 0.25})
    model = onnx.load(artifact.folder / "stage_float.onnx")
    values = {info.name for info in model.graph.input}
    assert set(read) <= values | {name for node in model.graph.node for name in node.output}
    assert "--useDLACore=1" in artifact.options["step"]
    assert "allowGPUFallback" not in artifact.options["step"]


@pytest.mark.parametrize("tool", ["dla", "tidl"])
def test_a_tool_without_zero_points_says_how_many_are_lost(
    make_npu, vendors, make_model, make_stage, tmp_path, tool
):
    def remarks(point):
        engine, stage = make_npu(vendors[tool]), make_stage(make_model(point))
        artifact = BACKEND.build(stage, None, engine, tmp_path / str(point))
        return json.loads((artifact.folder / "handoff.json").read_text("utf-8"))["remarks"]

    told = next(remark for remark in remarks(-3) if "zero point other than 0" in remark)
    assert told.startswith("3 ")
    assert not any("zero point" in remark for remark in remarks(0))


def test_a_float16_stage_goes_to_the_tools_that_take_one(
    make_npu, vendors, make_stage, stage, tmp_path
):
    half = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float16[1,8,6,6] x) => (float16[1,8,6,6] y) '
        "{ y = Relu(x) }"
    )
    steps = {
        tool: BACKEND.build(make_stage(half), None, make_npu(vendors[tool]), tmp_path / tool)
        for tool in ("rknn", "dla")
    }
    assert "--int8" not in steps["dla"].options["step"]
    assert "--onnx=stage.onnx" in steps["dla"].options["step"]
    assert 'model="stage.onnx"' in (steps["rknn"].folder / "convert.py").read_text("utf-8")


def test_a_processor_number_goes_into_the_configuration(make_npu, vendors, stage, tmp_path):
    engine = make_npu(vendors["qnn"] | {"soc_id": "35"})
    artifact = BACKEND.build(stage, None, engine, tmp_path)
    config = json.loads((artifact.folder / "htp_config.json").read_text("utf-8"))
    assert config == {"devices": [{"dsp_arch": "v68", "soc_id": 35}]}


def test_an_engine_without_a_tool_cannot_be_built_for(make_npu, stage, tmp_path):
    with pytest.raises(BuildError, match="s0: the board file names no vendor's tool for npu0"):
        BACKEND.build(stage, None, make_npu({}), tmp_path)


def test_a_folder_that_cannot_be_made_is_named(make_npu, vendor, stage, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match=r"s0: .*file.* cannot be written"):
        BACKEND.build(stage, None, make_npu(vendor), tmp_path / "file")


def test_a_stage_that_no_tool_takes_leaves_nothing_behind(make_npu, vendor, stage, tmp_path):
    stage.model.graph.node[1].op_type = "Nonsense"
    with pytest.raises(BuildError):
        BACKEND.build(replace(stage), None, make_npu(vendor), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_fingerprint_names_the_versions():
    assert version("onnxruntime") in BACKEND.fingerprint()
    assert version("onnx") in BACKEND.fingerprint()
