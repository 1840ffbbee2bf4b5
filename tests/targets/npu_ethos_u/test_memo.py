"""The memo: what is found again, and what counts as absent."""

import os

import pytest

from edgeweave.targets.npu_ethos_u.memo import Compiled, Memo, memo_key

MADE = Compiled(b"model\nwith\0bytes", {"seconds": 0.5, "cpu_operators": []})


def entry(folder, key):
    return folder / "ethos-u" / f"{key}.vela"


def test_an_entry_is_found_by_another_process(empty_cache):
    Memo().keep("k1", MADE)
    assert Memo().find("k1") == MADE
    assert Memo().find("k2") is None


def test_an_entry_is_found_in_memory_when_the_disk_has_lost_it(empty_cache):
    memo = Memo()
    memo.keep("k1", MADE)
    entry(empty_cache, "k1").unlink()
    assert memo.find("k1") == MADE
    memo.forget()
    assert memo.find("k1") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content.replace(b"0.5", b"0.6"),
        lambda content: content[:64],
        lambda content: b"\xff" * len(content),
    ],
)
def test_a_damaged_entry_counts_as_absent_and_is_written_anew(empty_cache, damage):
    Memo().keep("k1", MADE)
    path = entry(empty_cache, "k1")
    path.write_bytes(damage(path.read_bytes()))
    assert Memo().find("k1") is None
    Memo().keep("k1", MADE)
    assert Memo().find("k1") == MADE


def test_the_oldest_go_when_the_disk_would_hold_too_much(empty_cache):
    memo = Memo(disk_bytes=500)
    for number, key in enumerate(["a", "b", "c"]):
        memo.keep(key, Compiled(b"x" * 150, {}))
        os.utime(entry(empty_cache, key), (number, number))
        if key == "b":
            assert Memo().find("a") is not None  # used: now it is the newest
    kept = {path.stem for path in (empty_cache / "ethos-u").iterdir()}
    assert kept == {"a", "c"}


def test_the_least_recently_used_go_when_memory_would_hold_too_much(empty_cache):
    memo = Memo(memory_bytes=300)
    for key in "abc":
        memo.keep(key, Compiled(b"x" * 150, {}))
        memo.find("a")
        entry(empty_cache, key).unlink()
    assert [key for key in "abc" if memo.find(key)] == ["a", "c"]


def test_a_model_larger_than_the_memory_is_kept_on_disk(empty_cache):
    memo = Memo(memory_bytes=10)
    memo.keep("k1", MADE)
    assert memo.find("k1") == MADE


def test_a_disk_that_takes_nothing_is_a_warning(empty_cache):
    empty_cache.mkdir()
    (empty_cache / "ethos-u").write_text("in the way")
    memo = Memo()
    with pytest.warns(RuntimeWarning, match="what Vela compiled is not cached"):
        memo.keep("k1", MADE)
    assert memo.find("k1") == MADE


def test_nothing_half_written_stays(empty_cache):
    Memo().keep("k1", MADE)
    path = entry(empty_cache, "k1")
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()
    with pytest.warns(RuntimeWarning, match="not cached"):
        Memo().keep("k1", MADE)
    assert [p.name for p in path.parent.iterdir()] == ["k1.vela"]


def test_the_key_depends_on_every_part_and_on_where_it_ends():
    keys = {memo_key(b"blob", *parts) for parts in [("a", "bc"), ("ab", "c"), ("abc",), ()]}
    assert len(keys | {memo_key(b"blot")}) == 5
