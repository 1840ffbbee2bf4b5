"""What is kept between runs gets to its place whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.storage import device_cache, kept


def test_the_folder_is_below_the_cache_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", "mine")
    assert device_cache() == tmp_path / "mine" / "device"


def test_without_a_cache_there_is_one_error_that_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path / "file" / "below"))
    with (
        pytest.warns(RuntimeWarning, match="working without a cache"),
        pytest.raises(KitError, match="EDGEWEAVE_CACHE_DIR"),
    ):
        device_cache()


def test_files_and_folders_appear_when_they_are_whole(tmp_path: Path) -> None:
    place = tmp_path / "a" / "file"
    with kept(place) as unfinished:
        unfinished.write_text("half")
        assert not place.exists()
    assert place.read_text() == "half"
    with kept(tmp_path / "a" / "folder") as unfinished:
        unfinished.mkdir()
        (unfinished / "x").touch()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["file", "folder"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with kept(tmp_path / "place") as unfinished:
            unfinished.write_text("half")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_another_process_put_there_meanwhile_stays(tmp_path: Path, is_folder: bool) -> None:
    place = tmp_path / "place"
    with kept(place) as unfinished:
        for path in (unfinished, place):
            if is_folder:
                path.mkdir()
                (path / path.name).touch()
            else:
                path.write_text(path.name)
    if is_folder:
        assert [p.name for p in place.iterdir()] == ["place"]
    else:
        assert place.read_text() == "place"
    assert list(tmp_path.iterdir()) == [place]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(KitError, match="cannot be written") as caught,
        kept(tmp_path / "file" / "x"),
    ):
        pass
    assert "EDGEWEAVE_CACHE_DIR" in caught.value.next_step
