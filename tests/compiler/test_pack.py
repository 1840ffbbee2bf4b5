"""Packing real built stages, and every way in which the destination can refuse them."""

import dataclasses
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.pack import BuiltStage, BundleContent, pack
from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Artifact, Slot

X, Y = ValueSpec("x", "tensor(float)", (1,)), ValueSpec("y", "tensor(float)", (1,))


@pytest.fixture
def content(tmp_path) -> BundleContent:
    """One stage with a library and weights, as a TVM backend leaves them."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "stage.so").write_bytes(b"library")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 4096)
    artifact = Artifact(
        "tvm", folder, ("stage.so", "weights.bin"), {"function": "main"}, "measured"
    )
    stage = BuiltStage("s0", Slot("cpu0", "cpu"), (0,), (X,), (Y,), 1e-3, artifact, b"onnx")
    return BundleContent(
        model="m.onnx",
        model_digest="ab" * 32,
        board="host",
        board_identity="here",
        inputs=(X,),
        outputs=(Y,),
        stages=(stage,),
        plan={"stages": [1]},
        reference=b"reference",
        predicted_latency_s=1e-3,
        predicted_interval_s=1e-3,
        budget_s=None,
    )


@pytest.fixture
def place(tmp_path) -> Path:
    """An empty folder for the bundle alone."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["t.bundle", "t.tar"])
def test_a_packed_bundle_opens_and_holds_every_part(content, place, name):
    assert pack(content, place / name) == place / name
    with open_bundle(place / name) as bundle:
        manifest = bundle.manifest
        assert {entry.path for entry in manifest.files} == {
            "plan.json",
            "reference.onnx",
            "stages/s0/stage.onnx",
            "stages/s0/stage.so",
            "stages/s0/weights.bin",
        }
        (stage,) = manifest.stages
        assert (stage.engine, stage.backend, stage.cores) == ("cpu0", "cpu", (0,))
        assert (stage.kind, stage.options, stage.host_run) == (
            "tvm",
            {"function": "main"},
            "measured",
        )
        assert json.loads((bundle.root / "plan.json").read_text()) == {"stages": [1]}
        assert bundle.reference.read_bytes() == b"reference"
        assert (bundle.stage_folder(stage) / "stage.onnx").read_bytes() == b"onnx"
        assert manifest.created_with["machine"] == platform.machine()
    assert [path.name for path in place.iterdir()] == [name]


def test_without_a_reference_the_manifest_names_none(content, place):
    pack(dataclasses.replace(content, reference=None), place / "t")
    with open_bundle(place / "t") as bundle:
        assert bundle.reference is None


def test_an_artifact_that_is_the_stage_s_model_is_not_packed_twice(content, place):
    (stage,) = content.stages
    (stage.artifact.folder / "stage.onnx").write_bytes(b"built")
    artifact = dataclasses.replace(stage.artifact, files=("stage.onnx",))
    pack(
        dataclasses.replace(content, stages=(dataclasses.replace(stage, artifact=artifact),)),
        place / "t",
    )
    assert (place / "t/stages/s0/stage.onnx").read_bytes() == b"built"


def test_equal_content_makes_equal_tars(content, place):
    first = pack(content, place / "a.tar").read_bytes()
    os.utime(content.stages[0].artifact.folder / "stage.so", (1, 1))
    assert pack(content, place / "b.tar").read_bytes() == first
    with tarfile.open(place / "a.tar") as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}
    names = [m.name for m in members]
    assert names == ["manifest.json", "manifest.sha256", *sorted(names[2:])]


@pytest.mark.parametrize("name", ["t.bundle", "t.tar"])
def test_an_older_bundle_is_replaced_whole(content, place, name):
    pack(content, place / name)
    pack(dataclasses.replace(content, reference=None, model="new"), place / name)
    with open_bundle(place / name) as bundle:
        assert bundle.manifest.model == "new"
        assert not (bundle.root / "reference.onnx").exists()
    assert [path.name for path in place.iterdir()] == [name]


def test_a_link_to_an_older_bundle_stays_a_link(content, place, tmp_path):
    pack(content, tmp_path / "real")
    (place / "link").symlink_to(tmp_path / "real")
    pack(dataclasses.replace(content, model="new"), place / "link")
    assert (place / "link").is_symlink()
    with open_bundle(tmp_path / "real") as bundle:
        assert bundle.manifest.model == "new"


def test_an_empty_folder_may_become_the_bundle(content, place):
    (place / "t").mkdir()
    pack(content, place / "t")
    open_bundle(place / "t").close()


def folder_of_the_user(path):
    path.mkdir()
    (path / "thesis.txt").write_text("precious")


def bundle_with_a_note(path):
    content_of_a_bundle = path.parent.parent / "template"
    shutil.copytree(content_of_a_bundle, path)
    (path / "notes.txt").write_text("precious")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("t", folder_of_the_user, "is no bundle"),
        ("t", bundle_with_a_note, "holds 'notes.txt', which is not part of a bundle"),
        ("t", lambda path: path.write_text("precious"), "exists and is a file"),
        ("t.tar", lambda path: path.write_text("precious"), "is no bundle"),
        ("t.tar", folder_of_the_user, "exists and is a directory"),
    ],
)
def test_what_is_no_bundle_is_never_overwritten(content, place, tmp_path, name, make, message):
    pack(content, tmp_path / "template")
    make(place / name)
    before = snapshot(place)
    with pytest.raises(CompileError, match=message):
        pack(content, place / name)
    assert snapshot(place) == before


def test_a_tar_of_something_else_is_not_overwritten(content, place):
    with tarfile.open(place / "t.tar", "w") as tar:
        tar.add(content.stages[0].artifact.folder, "photos")
    before = snapshot(place)
    with pytest.raises(CompileError, match="a tar without"):
        pack(content, place / "t.tar")
    assert snapshot(place) == before


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_missing_parent_folder_is_named(content, place):
    with pytest.raises(CompileError, match=r"there is no folder .*absent"):
        pack(content, place / "absent" / "t.tar")


def test_an_artifact_file_that_is_missing_is_named_and_the_old_bundle_stays(content, place):
    pack(content, place / "t")
    before = snapshot(place)
    (content.stages[0].artifact.folder / "stage.so").unlink()
    with pytest.raises(CompileError, match=r"stage\.so"):
        pack(content, place / "t")
    assert snapshot(place) == before


def test_a_content_that_does_not_fit_together_is_refused(content, place):
    with pytest.raises(CompileError, match="the model returns 'x2'"):
        pack(
            dataclasses.replace(content, outputs=(dataclasses.replace(X, name="x2"),)), place / "t"
        )
    assert list(place.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(content, place, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeweave.compiler.publish.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(content, place / "t")
    assert list(place.iterdir()) == []


def test_the_old_folder_returns_when_the_new_one_cannot_be_moved_in(content, place, monkeypatch):
    pack(content, place / "t")
    before = snapshot(place)
    replace = Path.replace

    def refuse(self, target):
        if self.name == "new":
            raise PermissionError(1, "Operation not permitted")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(CompileError, match="Operation not permitted"):
        pack(dataclasses.replace(content, model="new"), place / "t")
    monkeypatch.undo()
    assert snapshot(place) == before


# A process of its own, because limits on files and mounts hold for a whole process.
PACK_AGAIN = """
import pickle, sys
from pathlib import Path
from edgeweave.compiler.errors import CompileError
from edgeweave.compiler.pack import pack
content = pickle.loads(Path(sys.argv[1]).read_bytes())
try:
    pack(content, Path(sys.argv[2]))
except CompileError as error:
    print(error)
    sys.exit(6)
"""


def pack_elsewhere(content, destination, tmp_path, wrap=(), **options):
    import pickle

    (tmp_path / "content.pickle").write_bytes(pickle.dumps(content))
    inner = [sys.executable, "-c", PACK_AGAIN, str(tmp_path / "content.pickle"), str(destination)]
    return subprocess.run([*wrap, *inner], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("name", ["t", "t.tar"])
def test_a_file_size_limit_leaves_the_old_bundle_and_nothing_half_written(
    content, place, tmp_path, name
):
    small = dataclasses.replace(content, model="old")
    pack(small, place / name)
    before = snapshot(place)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = pack_elsewhere(content, place / name, tmp_path, preexec_fn=limit)
    assert done.returncode == 6, done.stderr
    assert "cannot be written (File too large)" in done.stdout
    assert snapshot(place) == before
    assert [path.name for path in place.iterdir()] == [name]


@pytest.mark.parametrize("name", ["t", "t.tar"])
def test_a_full_disk_leaves_the_old_bundle_and_nothing_half_written(content, place, tmp_path, name):
    """On a real file system of 512 KiB, in a mount namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    weights = content.stages[0].artifact.folder / "weights.bin"
    full = weights.read_bytes()
    weights.write_bytes(b"small")
    pack(content, place / name)
    weights.write_bytes(full)
    script = (
        'set -e; cp -r "$1" "$1.kept"; mount -t tmpfs -o size=512k tmpfs "$1"; '
        'cp -r "$1.kept/." "$1/"; shift; code=0; "$@" || code=$?; '
        'ls -A "$0"; diff -r "$0" "$0.kept" && echo unchanged; exit $code'
    )
    wrap = ["unshare", "-m", "sh", "-c", script, str(place), str(place)]
    done = pack_elsewhere(content, place / name, tmp_path, wrap)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this process may not mount: {done.stderr.strip()}")
    assert done.returncode == 6, done.stderr
    lines = done.stdout.splitlines()
    assert "cannot be written (No space left on device)" in lines[0]
    assert lines[1:] == [name, "unchanged"]


def test_a_folder_without_write_permission_is_told_as_such(content, place):
    place.chmod(0o555)
    # root may write into any folder, but not even root can make files in /proc
    destination = Path("/proc/t.tar") if os.geteuid() == 0 else place / "t.tar"
    with pytest.raises(CompileError, match=r"t\.tar: cannot be written"):
        pack(content, destination)
    place.chmod(0o755)
