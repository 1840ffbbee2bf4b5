import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeweave.runtime.bundle import manifest_digest, open_bundle
from edgeweave.runtime.errors import BundleError

FILES = (
    "manifest.json",
    "manifest.sha256",
    "plan.json",
    "reference.onnx",
    "stages/s0/stage.onnx",
)


@pytest.fixture
def folder(packed_diamond, tmp_path) -> Path:
    """A copy of the diamond that a test may change."""
    return Path(shutil.copytree(packed_diamond["folder"], tmp_path / "d.bundle"))


@pytest.fixture
def own_tmp(tmp_path, monkeypatch) -> Path:
    """A private temporary folder, to see what is left in it."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def rewrite_manifest(folder: Path, change) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    change(document)
    data = json.dumps(document).encode()
    (folder / "manifest.json").write_bytes(data)
    (folder / "manifest.sha256").write_bytes(manifest_digest(data))


def tar_of(folder: Path, archive: Path, *extra: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                tar.add(path, path.relative_to(folder).as_posix())
        for member, data in extra:
            tar.addfile(member, io.BytesIO(data))
    return archive


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, target: str = ""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_an_intact_bundle_opens_and_names_its_stages(packed_diamond, form):
    with open_bundle(packed_diamond[form]) as bundle:
        assert [stage.name for stage in bundle.manifest.stages] == ["s0", "s1", "s2", "s3"]
        assert all(
            (bundle.stage_folder(s) / "stage.onnx").is_file() for s in bundle.manifest.stages
        )
        assert bundle.reference is not None
        assert bundle.reference.is_file()


def test_an_unpacked_tar_is_removed_on_close_and_closing_twice_is_harmless(packed_diamond, own_tmp):
    bundle = open_bundle(packed_diamond["tar"])
    assert list(own_tmp.iterdir())
    bundle.close()
    bundle.close()
    assert not list(own_tmp.iterdir())


def test_a_folder_bundle_is_still_there_after_close(folder):
    open_bundle(folder).close()
    assert (folder / "manifest.json").is_file()


def test_the_manifest_digest_is_what_sha256sum_writes(folder):
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert (folder / "manifest.sha256").read_text() == f"{digest}  manifest.json\n"


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_in_any_file_of_a_folder_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match="was changed after packing"):
        open_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        open_bundle(folder)


@pytest.mark.parametrize("name", FILES[2:])
def test_a_truncated_or_longer_file_is_refused_by_its_size(folder, name):
    data = (folder / name).read_bytes()
    for changed in (data[:-1], data + b"x"):
        (folder / name).write_bytes(changed)
        with pytest.raises(BundleError, match=f"{name}.*bytes and must have"):
            open_bundle(folder)


def test_a_file_that_the_manifest_does_not_list_is_refused(folder):
    (folder / "stages" / "s0" / "extra.so").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"stages/s0/extra\.so.*does not list"):
        open_bundle(folder)


@pytest.mark.parametrize("target", ["plan.json", "/etc/hostname", "absent"])
def test_a_symbolic_link_in_a_folder_is_refused(folder, target):
    (folder / "reference.onnx").unlink()
    (folder / "reference.onnx").symlink_to(target)
    with pytest.raises(BundleError, match="symbolic link"):
        open_bundle(folder)


def test_a_linked_subfolder_is_refused(folder, tmp_path):
    shutil.move(folder / "stages", tmp_path / "outside")
    (folder / "stages").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="symbolic link"):
        open_bundle(folder)


def test_a_named_pipe_in_a_folder_is_refused_without_reading_it(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleError, match="no regular file"):
        open_bundle(folder)


def test_a_newer_format_asks_for_a_newer_edgeweave_even_with_unknown_keys(folder):
    rewrite_manifest(folder, lambda d: d.update(format_version=3, novelty=True))
    with pytest.raises(BundleError, match="this bundle needs a newer edgeweave"):
        open_bundle(folder)


def test_a_manifest_path_that_escapes_is_refused(folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"x")

    def escape(document):
        digest = hashlib.sha256(b"x").hexdigest()
        document["files"].append({"path": "../secret", "sha256": digest, "size": 1})

    rewrite_manifest(folder, escape)
    with pytest.raises(BundleError, match=r"\.\./secret.*leaves the bundle"):
        open_bundle(folder)


def test_an_oversized_manifest_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr("edgeweave.runtime.bundle.MANIFEST_LIMIT", 10)
    with pytest.raises(BundleError, match="over 10 bytes"):
        open_bundle(folder)


def test_a_path_that_does_not_exist_and_a_folder_that_is_no_bundle_are_told_apart(tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        open_bundle(tmp_path / "absent")
    with pytest.raises(BundleError, match="is no bundle"):
        open_bundle(tmp_path)


def test_a_tar_packed_again_by_hand_opens(folder, tmp_path):
    with tarfile.open(tmp_path / "again.tar", "w") as tar:
        tar.add(folder, ".")
    open_bundle(tmp_path / "again.tar").close()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (member("../evil"), "leaves the bundle"),
        (member("stages/../../evil"), "leaves the bundle"),
        (member("/tmp/evil"), "is absolute"),
        (member("a\\b"), "backslash"),
        (member("link", kind=tarfile.SYMTYPE, target="/etc"), "link, device or sparse"),
        (member("link", kind=tarfile.LNKTYPE, target="plan.json"), "link, device or sparse"),
        (member("null", kind=tarfile.CHRTYPE), "link, device or sparse"),
        (member("pipe", kind=tarfile.FIFOTYPE), "link, device or sparse"),
        (member("../dir", kind=tarfile.DIRTYPE), "leaves the bundle"),
        (member("plan.json"), "occurs twice"),
        (member("./plan.json"), "occurs twice"),
        (member("plan.json/inside"), "both file and folder"),
        (member("stages"), "both file and folder"),
        (member("unlisted"), "does not list"),
    ],
)
def test_an_unsafe_tar_member_is_refused_and_nothing_stays(
    folder, tmp_path, own_tmp, extra, message
):
    archive = tar_of(folder, tmp_path / "bad.tar", extra)
    with pytest.raises(BundleError, match=message):
        open_bundle(archive)
    assert not list(own_tmp.iterdir())
    assert not (tmp_path / "evil").exists()


def test_a_member_that_claims_more_than_the_tar_holds_is_refused(folder, tmp_path, own_tmp):
    info, _ = member("huge")
    info.size = 1 << 50
    archive = tar_of(folder, tmp_path / "bad.tar")
    with tarfile.open(archive) as tar:
        end = max(found.offset_data + -(-found.size // 512) * 512 for found in tar)
    with archive.open("r+b") as file:
        file.seek(end)  # over the zeros that end the archive
        file.write(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(BundleError, match="claims 1125899906842624 bytes"):
        open_bundle(archive)
    assert not list(own_tmp.iterdir())


def test_a_sparse_member_is_refused(folder, tmp_path):
    info, _ = member("sparse")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "9",
    }
    archive = tmp_path / "bad.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        info.size = 512
        tar.addfile(info, io.BytesIO(b"0\n".ljust(512, b"\0")))
    with pytest.raises(BundleError, match="sparse"):
        open_bundle(archive)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_tar_is_refused_and_nothing_stays(packed_diamond, tmp_path, own_tmp, share):
    data = packed_diamond["tar"].read_bytes().rstrip(b"\0")
    (tmp_path / "cut.tar").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "cut.tar")
    assert not list(own_tmp.iterdir())


def test_a_text_file_is_refused_as_no_tar(tmp_path):
    (tmp_path / "t.tar").write_text("hello\n" * 500)
    with pytest.raises(BundleError, match="no readable tar"):
        open_bundle(tmp_path / "t.tar")


def test_a_full_disk_while_unpacking_is_told_as_such(packed_diamond, monkeypatch, own_tmp):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeweave.runtime.unpack.shutil.copyfileobj", full)
    with pytest.raises(BundleError, match=r"No space left on device.*TMPDIR"):
        open_bundle(packed_diamond["tar"])
    assert not list(own_tmp.iterdir())


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_byte_changed_anywhere_in_a_tar_is_refused_or_changes_no_content(
    packed_diamond, tmp_path, data
):
    """Padding between members is not part of any file; everything else is."""
    original = packed_diamond["tar"].read_bytes()
    at = data.draw(st.integers(0, len(original.rstrip(b"\0")) + 600))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "changed.tar"
    path.write_bytes(changed)
    try:
        bundle = open_bundle(path)
    except BundleError:
        return
    with bundle:
        for file in packed_diamond["folder"].rglob("*"):
            if file.is_file():
                name = file.relative_to(packed_diamond["folder"])
                assert (bundle.root / name).read_bytes() == file.read_bytes()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=2048))
def test_random_bytes_are_never_a_bundle_and_never_a_crash(tmp_path, junk):
    (tmp_path / "junk.tar").write_bytes(junk)
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "junk.tar")
