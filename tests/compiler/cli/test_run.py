"""``edgeweave run``: inputs, times, verification, and bundles that must not run."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import numpy as np
import onnx
import pytest

from edgeweave.runtime.bundle import manifest_digest
from edgeweave.runtime.compare import OutputDifference
from edgeweave.runtime.verify import Verification


@pytest.fixture
def frame(tmp_path):
    """A frame of the small model in both forms that numpy writes."""
    x = np.random.default_rng(5).standard_normal((2, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    return tmp_path


def test_a_bundle_runs_as_a_user_types_it(typed, bundle):
    said = typed("run", bundle, "--frames", "5", "--verify")
    assert said.status == 0, said.err
    assert "inputs: random, seed 0, 4 frames over and over" in said.out
    assert "latency of frames that run alone, measured (5 frames" in said.out
    assert "over the budget of 5.00 s: 0 of 5 frames" in said.out
    assert "measured / predicted" in said.out
    assert "verification against ONNX Runtime: passed (4 distinct frames" in said.out


def test_json_holds_every_figure_with_its_word(edgeweave, bundle):
    said = edgeweave("run", bundle, "--frames", "6", "--verify", "--json")
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    measured = shown["measurement"]
    assert (measured["word"], measured["frames"], measured["misses"]) == ("measured", 6, 0)
    latency = measured["latency"]
    assert latency["p50_s"] <= latency["p90_s"] <= latency["p99_s"] <= latency["max_s"]
    assert shown["ratio"]["interval"] == pytest.approx(
        measured["interval_s"] / shown["predicted"]["interval_s"]
    )
    names = {stage["name"] for stage in shown["stages"]}
    assert set(measured["stage_s"]) == names == set(measured["stage_streaming_s"])
    assert set(measured["busy"]) == {stage["engine"] for stage in shown["stages"]}
    (output,) = shown["verification"]["outputs"]
    assert output["name"] == "y"
    assert output["max_abs"] <= 1e-3
    assert output["passed"]


def test_frames_over_the_budget_are_counted(edgeweave, bundle, monkeypatch):
    from edgeweave.runtime import measure

    real = measure._misses
    monkeypatch.setattr(measure, "_misses", lambda results, _budget: real(results, 1e-12))
    said = edgeweave("run", bundle, "--frames", "4")
    assert "over the budget of 5.00 s: 4 of 4 frames" in said.out


@pytest.mark.parametrize("given", ["x={}/x.npy", "{}/x.npz"])
def test_given_inputs_run_and_their_outputs_are_written(edgeweave, bundle, frame, given):
    said = edgeweave(
        "run", bundle, "--input", given.format(frame), "--frames", "2", "--verify",
        "--outputs", frame / "y.npz",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert "inputs: the given ones" in said.out
    with np.load(frame / "y.npz") as outputs:
        assert outputs.files == ["y"]
        assert outputs["y"].sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert sorted(path.name for path in frame.iterdir()) == ["x.npy", "x.npz", "y.npz"]


def test_outputs_that_cannot_be_written_are_told(edgeweave, bundle, frame):
    said = edgeweave("run", bundle, "--frames", "2", "--outputs", frame / "none" / "y.npz")
    assert (said.status, said.out) == (5, "")
    assert "y.npz: cannot be written (No such file or directory)" in said.err


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 9), np.float32), "input 'x': expected shape 2x8, got 2x9"),
        (np.zeros((2, 8), np.float64), "input 'x': expected dtype float32, got float64"),
    ],
)
def test_an_input_of_wrong_shape_or_dtype_is_told(edgeweave, bundle, tmp_path, array, told):
    np.save(tmp_path / "x.npy", array)
    said = edgeweave("run", bundle, "--input", f"x={tmp_path}/x.npy")
    assert (said.status, said.out) == (5, "")
    assert said.err.splitlines()[-1].startswith(f"error: {told}")


def test_an_input_of_another_name_is_told_with_those_there_are(edgeweave, bundle, frame):
    said = edgeweave("run", bundle, "--input", f"image={frame}/x.npy")
    assert said.status == 5
    assert "error: input 'image': is not an input of the model. It has 'x'" in said.err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["x={}/none.npy"], "none.npy cannot be read: No such file or directory"),
        (["x={}/text.npy"], "text.npy is no array that numpy saved"),
        (["x={}/objects.npy"], "objects.npy is no array that numpy saved"),
        (["{}/x.npy"], "holds one array; write --input NAME="),
        (["x={}/x.npz"], "holds several arrays; write --input "),
        (["x={}/x.npy", "{}/x.npz"], "'x' is given twice"),
    ],
)
def test_an_input_file_that_cannot_be_used_is_wrong_usage(edgeweave, bundle, frame, given, told):
    (frame / "text.npy").write_text("no array")
    np.save(frame / "objects.npy", np.array([{}], object), allow_pickle=True)
    options = [part for text in given for part in ("--input", text.format(frame))]
    said = edgeweave("run", bundle, *options)
    assert (said.status, said.out) == (2, "")
    assert told in said.err


def test_a_failed_verification_has_its_status_and_names_the_output(edgeweave, bundle, monkeypatch):
    def fail(_bundle, _frames, tolerance, _pipeline):
        return Verification(1, tolerance, (OutputDifference("y", 2.0, 0.5, "3 of 16 are off"),))

    monkeypatch.setattr("edgeweave.runtime.verify.verify", fail)
    said = edgeweave("run", bundle, "--frames", "2", "--verify")
    assert said.status == 7
    assert "verification against ONNX Runtime: FAILED" in said.out
    assert said.err.splitlines()[-1] == (
        f"error: {bundle}: 1 of 1 outputs differ from ONNX Runtime's: 'y': 3 of 16 are off. "
        "Report it with the model, or allow more with --atol and --rtol"
    )


def test_another_model_as_the_reference_fails_the_verification(edgeweave, copied):
    """Through the real comparison, with a reference whose weights are other ones."""
    reference = onnx.load(copied / "reference.onnx")
    (weight,) = reference.graph.initializer
    weight.raw_data = (onnx.numpy_helper.to_array(weight) * 2).tobytes()
    data = reference.SerializeToString()
    (copied / "reference.onnx").write_bytes(data)
    manifest = json.loads((copied / "manifest.json").read_text())
    (entry,) = (file for file in manifest["files"] if file["path"] == "reference.onnx")
    entry |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    head = json.dumps(manifest).encode()
    (copied / "manifest.json").write_bytes(head)
    (copied / "manifest.sha256").write_bytes(manifest_digest(head))
    said = edgeweave("run", copied, "--frames", "2", "--verify", "--json")
    assert said.status == 7
    shown = json.loads(said.out)["verification"]
    assert shown["passed"] is False
    assert shown["outputs"][0]["max_abs"] > 1e-3
    assert edgeweave("run", copied, "--frames", "2", "--verify", "--atol", "10").status == 0


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "small"])
def test_a_tolerance_must_be_finite_and_not_below_0(edgeweave, bundle, text):
    said = edgeweave("run", bundle, "--verify", "--atol", text)
    assert said.status == 2
    assert f"{text!r} is not a tolerance; write 0.001" in said.err


def test_verification_needs_the_reference_in_the_bundle(edgeweave, model, tmp_path):
    path = tmp_path / "bare.bundle"
    made = edgeweave("compile", model, "--board", "host", "-o", path, "--no-reference")
    assert made.status == 0, made.err
    said = edgeweave("run", path, "--frames", "2", "--verify")
    assert (said.status, said.out) == (5, "")
    assert "carries no reference model" in said.err


def test_a_bundle_that_is_not_there_is_wrong_usage(edgeweave, tmp_path):
    said = edgeweave("run", tmp_path / "none.bundle")
    assert said.status == 2
    assert "none.bundle' does not exist" in said.err


def test_a_flipped_byte_is_found(edgeweave, copied):
    victim = next(copied.rglob("stage.onnx"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    said = edgeweave("run", copied)
    assert (said.status, said.out) == (5, "")
    (message,) = said.err.splitlines()
    assert message.startswith(f"error: {copied}: file 'stages/")
    assert "stage.onnx' was changed after packing" in message


def test_a_tar_that_leaves_its_folder_is_refused(edgeweave, tmp_path):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("../escaped")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    said = edgeweave("run", path)
    assert (said.status, said.out) == (5, "")
    (message,) = said.err.splitlines()
    assert "../escaped" in message
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path.parent / "escaped").exists()


def test_a_bundle_for_another_machine_is_refused(edgeweave, model, tmp_path):
    path = tmp_path / "arm.bundle"
    made = edgeweave("compile", model, "--board", "imx93", "-o", path)
    assert made.status == 0, made.err
    said = edgeweave("run", path)
    assert (said.status, said.out) == (5, "")
    assert "is built for aarch64-linux-gnu" in said.err
    assert "Copy the bundle to its board" in said.err
