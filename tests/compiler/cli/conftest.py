"""Running the command line: in this process for speed, and as a user does."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeweave.compiler.cli import main
from edgeweave.runtime.bundle import manifest_digest

HEADER = '<ir_version: 10, opset_import: ["": 18]>\n'
CALL = "import sys; from edgeweave.compiler.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def command_line() -> list[str]:
    """The installed script, or the same in other words where there is none."""
    script = Path(sys.executable).with_name("edgeweave")
    return [str(script)] if script.is_file() else [sys.executable, "-c", CALL]


@pytest.fixture
def edgeweave(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Said]]:
    """Run the command line in this process."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(int(status), out, err)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def typed(command_line: list[str]) -> Callable[..., Said]:
    """Run the command line as a process of its own."""

    def run(*arguments: object, **options: Any) -> Said:
        command = [*command_line, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


def parsed(text: str) -> onnx.ModelProto:
    """A model from a graph in ONNX's text form (operator set 18)."""
    return onnx.parser.parse_model(HEADER + text)


def with_weights(proto: onnx.ModelProto, **weights: Any) -> onnx.ModelProto:
    """The model with these initializers."""
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


def two_layers() -> onnx.ModelProto:
    """Two layers that are not equal, so that a stage border fits between them."""
    text = "g (float[2,8] x) => (float[2,8] y) { m = MatMul(x, w) h = Relu(m) y = Softmax(h) }"
    weight = np.random.default_rng(3).standard_normal((8, 8)).astype(np.float32)
    return with_weights(parsed(text), w=weight)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a model, from a proto or from ONNX's text form, to a file."""

    def write(proto: onnx.ModelProto | str, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        proto = parsed(proto) if isinstance(proto, str) else proto
        path.write_bytes(proto.SerializeToString())
        return path

    return write


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that compiles."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    path.write_bytes(two_layers().SerializeToString())
    return path


@pytest.fixture(scope="session")
def bundle(
    model: Path, typed: Callable[..., Said], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The small model as a bundle for this machine; not to be changed."""
    path = tmp_path_factory.mktemp("bundle") / "small.bundle"
    said = typed("compile", model, "--board", "host", "--budget", "5s", "-o", path)
    assert said.status == 0, said.err
    return path


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "copied.bundle"))


@pytest.fixture
def edited(device_bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the bundle for devices after its manifest's data, and other files, were edited."""

    def change(edit: Callable[[dict[str, Any], Path], None]) -> Path:
        path = Path(shutil.copytree(device_bundle, tmp_path / "edited.bundle"))
        manifest = json.loads((path / "manifest.json").read_text())
        edit(manifest, path)
        head = json.dumps(manifest).encode()
        (path / "manifest.json").write_bytes(head)
        (path / "manifest.sha256").write_bytes(manifest_digest(head))
        return path

    return change
