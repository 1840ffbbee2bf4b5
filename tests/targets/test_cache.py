from pathlib import Path

import pytest

from edgeweave.targets.cache import cache_dir, open_cache


def test_the_own_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", "/a/b")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_dir() == Path("/a/b")


def test_the_desktop_variable_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_dir() == Path("/c/edgeweave")


@pytest.mark.parametrize("value", ["", "relative"])
def test_an_empty_or_relative_desktop_variable_is_ignored(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEWEAVE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", "/h")
    assert cache_dir() == Path("/h/.cache/edgeweave")


def test_the_cache_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path / "a" / "b"))
    folder = open_cache()
    assert folder == tmp_path / "a" / "b"
    assert folder.is_dir()


def test_a_cache_that_cannot_be_made_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path / "file" / "b"))
    with pytest.warns(RuntimeWarning, match=r"working without a cache.*EDGEWEAVE_CACHE_DIR"):
        assert open_cache() is None


def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)  # the superuser may write everywhere
    with pytest.warns(RuntimeWarning, match="is not writable"):
        assert open_cache() is None
