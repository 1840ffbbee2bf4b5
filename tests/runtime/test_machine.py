import dataclasses
import platform
import subprocess
import sys

import pytest

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.machine import machine_architecture, run_word, triple_architecture
from edgeweave.runtime.manifest import StageEntry

HERE = f"{platform.machine()}-linux-gnu"
STAGE = StageEntry("s0", "e", "b", (), "k", "f", (), (), (), {}, 0.0, None)


def stage(host_run, triple):
    options = {} if triple is None else {"triple": triple}
    return dataclasses.replace(STAGE, host_run=host_run, options=options)


@pytest.mark.parametrize(
    ("triple", "architecture"),
    [
        ("arm64-apple-darwin", "aarch64"),
        ("AMD64-pc-windows", "x86_64"),
        ("riscv64", "riscv64"),
        ("armv7l", "arm"),  # as Linux calls a 32-bit machine
        ("armv8l", "arm"),
        ("armv7a-linux-gnueabihf", "arm"),
        ("thumbv7-linux-gnueabihf", "arm"),
        ("arm-linux-gnueabihf", "arm"),
    ],
)
def test_one_architecture_has_one_name(triple, architecture):
    assert triple_architecture(triple) == architecture


def test_this_machine_has_a_name_that_a_triple_can_match(monkeypatch):
    assert machine_architecture() == triple_architecture(HERE)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine_architecture() == "aarch64"


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        ([], "measured"),
        ([stage("measured", None)], "measured"),
        ([stage("measured", HERE)], "measured"),
        ([stage(None, HERE)], "measured"),  # the bundle was carried to its board
        ([stage("emulated", "hexagon"), stage("measured", None)], "emulated"),
        ([stage("emulated", None), stage("reference", None)], "reference"),
    ],
)
def test_the_weakest_word_wins(stages, word):
    assert run_word(stages) == word


@pytest.mark.parametrize(
    "unfit", [stage(None, None), stage(None, "hexagon"), stage("measured", "hexagon")]
)
def test_a_stage_for_another_machine_is_an_error_that_says_both(unfit):
    with pytest.raises(RuntimeFault, match=r"stage s0: is built for .*; this machine is"):
        run_word([unfit])


def test_the_pipeline_is_imported_without_tvm_and_onnx_runtime():
    code = (
        "import sys, edgeweave.runtime.verify, edgeweave.runtime.measure; "
        "print(sorted({'tvm', 'onnxruntime', 'onnx'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
