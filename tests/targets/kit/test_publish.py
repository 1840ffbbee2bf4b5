"""A kit replaces an older kit, whole or not at all, and nothing else."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.publish import check_place, publish
from edgeweave.targets.kit.write import KitFile


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_kit_is_written_with_its_permissions_whatever_the_umask(kit_files, tmp_path) -> None:
    before = os.umask(0o077)
    try:
        publish(kit_files, tmp_path / "kit")
    finally:
        os.umask(before)
    assert content(tmp_path / "kit") == {n: f.source for n, f in kit_files.items()}
    modes = {name: stat.S_IMODE((tmp_path / "kit" / name).stat().st_mode) for name in kit_files}
    assert modes == {"bin/edgeweave-device": 0o755, "device.json": 0o644}
    assert [p.name for p in tmp_path.iterdir()] == ["kit"]


def test_an_older_kit_is_replaced_whole(kit_files, tmp_path) -> None:
    publish(kit_files, tmp_path / "kit")
    newer = {"lib/x": KitFile(b"x"), "device.json": KitFile(b'{"files": {"lib/x": ""}}')}
    publish(newer, tmp_path / "kit")
    assert set(content(tmp_path / "kit")) == {"lib/x", "device.json"}
    assert [p.name for p in tmp_path.iterdir()] == ["kit"]


def test_an_empty_folder_is_replaced_and_a_link_is_followed(kit_files, tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    publish(kit_files, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert set(content(tmp_path / "real")) == set(kit_files)


def test_a_tar_unpacks_to_one_folder_and_equal_kits_are_equal_tars(kit_files, tmp_path) -> None:
    publish(kit_files, tmp_path / "a.tar")
    publish(kit_files, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        modes = {member.name: member.mode for member in tar}
    assert modes == {
        "edgeweave-device/bin/edgeweave-device": 0o755,
        "edgeweave-device/device.json": 0o644,
    }
    publish(kit_files | {"README": KitFile(b"new")}, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert "edgeweave-device/README" in tar.getnames()


def test_a_folder_with_anything_else_in_it_is_left_alone(kit_files, tmp_path) -> None:
    kit = tmp_path / "kit"
    publish(kit_files, kit)
    (kit / "mine.txt").write_text("mine")
    before = content(kit)
    with pytest.raises(KitError, match=r"holds 'mine.txt', which is not part of a kit"):
        publish(kit_files, kit)
    assert content(kit) == before


def test_a_link_in_a_kit_is_not_part_of_it(kit_files, tmp_path) -> None:
    kit = tmp_path / "kit"
    publish(kit_files, kit)
    (kit / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(KitError, match="holds 'elsewhere'"):
        check_place(kit)


@pytest.mark.parametrize(
    "manifest", [None, "no JSON", "[]", "{}", '{"files": 3}', '{"files": [[]]}']
)
def test_a_folder_that_is_no_kit_is_left_alone(manifest, tmp_path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    if manifest is not None:
        (folder / "device.json").write_text(manifest)
    with pytest.raises(KitError, match=r"is no kit: it has no readable device\.json"):
        check_place(folder)


def test_other_files_and_tars_are_left_alone(tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(KitError, match="exists and is a file"):
        check_place(tmp_path / "file")
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(KitError, match="exists and is a directory"):
        check_place(tmp_path / "folder.tar")
    (tmp_path / "x.tar").write_text("mine")
    with pytest.raises(KitError, match="exists and is no kit"):
        check_place(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        tar.add(tmp_path / "file", "file")
    with pytest.raises(KitError, match=r"is a tar without edgeweave-device/device\.json"):
        check_place(tmp_path / "y.tar")


def test_a_place_without_a_folder_is_told(tmp_path) -> None:
    with pytest.raises(KitError, match="there is no folder") as caught:
        check_place(tmp_path / "a" / "kit")
    assert caught.value.next_step == "Make it first"


@pytest.mark.parametrize("name", ["kit", "kit.tar"])
def test_a_failure_while_writing_keeps_the_older_kit(name, kit_files, tmp_path) -> None:
    place = tmp_path / name
    publish(kit_files, place)
    before = content(tmp_path)
    lost = {"lib/lost": KitFile(tmp_path / "lost"), **kit_files}
    with pytest.raises(KitError, match="cannot be written"):
        publish(lost, place)
    assert content(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_replacement_that_fails_midway_is_undone(kit_files, tmp_path, monkeypatch) -> None:
    publish(kit_files, tmp_path / "kit")
    before = content(tmp_path)
    replace = Path.replace

    def fail_once(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(KitError, match="No space left on device"):
        publish(kit_files, tmp_path / "kit")
    assert content(tmp_path) == before
