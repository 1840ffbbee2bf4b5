"""``edgeweave compile``: what it writes, what it says, and what it leaves when it cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading

import numpy as np
import pytest
from onnx import numpy_helper, parser

from edgeweave.runtime.bundle import open_bundle

OPTIONS = ("--board", "host", "--budget", "5s")


def test_a_bundle_and_its_making_are_described(edgeweave, model, tmp_path):
    path = tmp_path / "new" / "folder" / "small.tar"
    said = edgeweave("compile", model, *OPTIONS, "-o", path)
    assert said.status == 0, said.err
    assert f"bundle: {path}, " in said.out
    assert "whole call" in said.out
    built = said.out.partition("with the stages as built\n")[2].splitlines()
    assert built[0].startswith("predicted latency: ")
    assert built[0].endswith(", within the budget of 5.00 s")
    assert said.out.splitlines()[-1].startswith("fallback: none of ")
    assert "packing" in said.err
    with open_bundle(path) as bundle:
        assert bundle.manifest.model == "small.onnx"
        assert bundle.manifest.budget_s == 5.0
        assert bundle.reference is not None


def test_json_is_the_plan_with_the_build_and_the_bundle(edgeweave, model, tmp_path):
    path = tmp_path / "small.bundle"
    said = edgeweave("compile", model, *OPTIONS, "-o", path, "--no-reference", "--json")
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    files = [file for file in path.rglob("*") if file.is_file()]
    assert shown["bundle"] == {
        "path": str(path), "bytes": sum(file.stat().st_size for file in files),
    }  # fmt: skip
    assert [choice["stage"] for choice in shown["build"]] == [s["name"] for s in shown["stages"]]
    with open_bundle(path) as bundle:
        assert shown["predicted"]["latency_s"] == bundle.manifest.predicted_latency_s
        assert bundle.reference is None


def test_an_impossible_budget_writes_nothing(edgeweave, model, tmp_path):
    path = tmp_path / "folder" / "small.bundle"
    said = edgeweave("compile", model, "--board", "host", "--budget", "1us", "-o", path, "--json")
    assert said.status == 4
    assert json.loads(said.out)["meets"] is False
    assert "no plan meets the request. The best latency found is" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("file/small.bundle", "cannot be made (File exists)"),
        ("file/deeper/small.bundle", "cannot be made (Not a directory)"),
        ("/proc/small.bundle", "/proc"),
        ("/proc/deeper/small.bundle", "/proc"),
        ("full", "exists and is no bundle"),
        ("full.tar", "exists and is a directory"),
    ],
)
def test_an_output_that_cannot_be_is_told_before_the_work(edgeweave, model, tmp_path, output, told):
    (tmp_path / "file").touch()
    for folder in ("full", "full.tar"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "something").touch()
    said = edgeweave("compile", model, *OPTIONS, "-o", tmp_path / output)
    assert (said.status, said.out) == (6, "")
    (message,) = said.err.splitlines()
    assert message.startswith(f"error: {tmp_path / output}: ")
    assert told in message


@pytest.fixture
def heavy(save):
    """A model with a MiB of weights."""
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]>\n'
        "g (float[1,512] x) => (float[1,512] y) { y = MatMul(x, w) }"
    )
    weight = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return save(proto, "heavy.onnx")


def test_a_full_disk_leaves_nothing_half_written(heavy, command_line, tmp_path):
    """On a real file system of 512 KiB, in a mount namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    place = tmp_path / "place"
    place.mkdir()
    script = (
        'set -e; mount -t tmpfs -o size=512k tmpfs "$0"; code=0; "$@" || code=$?; '
        'ls -A "$0"; exit $code'
    )
    command = [*command_line, "compile", heavy, *OPTIONS, "-q", "--json", "-o", place / "h.bundle"]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, place, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this process may not mount: {done.stderr.strip()}")
    assert done.returncode == 6, done.stderr
    assert done.stdout == ""
    (message,) = done.stderr.splitlines()
    assert f"{place / 'h.bundle'}: cannot be written (No space left on device)" in message


def test_an_interrupt_ends_with_130_and_leaves_nothing(heavy, command_line, tmp_path):
    """Whatever it is doing: with an empty cache it has seconds of work before it."""
    place, scratch = tmp_path / "place", tmp_path / "scratch"
    place.mkdir()
    scratch.mkdir()
    (tmp_path / "cache").mkdir()
    environment = os.environ | {
        "TMPDIR": str(scratch), "EDGEWEAVE_CACHE_DIR": str(tmp_path / "cache"),
    }  # fmt: skip
    with subprocess.Popen(
        [*command_line, "compile", heavy, *OPTIONS, "-o", place / "h.bundle"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        assert process.stderr
        for line in process.stderr:
            if line.startswith("checking"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate()
        watchdog.cancel()
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    assert list(place.iterdir()) == []
    assert list(scratch.iterdir()) == []
