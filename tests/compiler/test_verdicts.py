import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.compiler.code_version import code_version
from edgeweave.compiler.verdicts import (
    CheckRecord,
    find_verdicts,
    forget_verdicts,
    read_verdicts,
    verdict_path,
)
from edgeweave.partition.prediction.json_lines import append_records
from edgeweave.partition.prediction.provenance import DeviceStamp

HERE = CheckRecord("d", "cpu", "haswell", code_version("cpu"), "equal", "")
REAL = DeviceStamp("rack-07", "10af", "aarch64", ("cortex-a53",), "measured")
EMULATED = replace(REAL, name="qemu", word="emulated")


def there(verdict, device, board="b"):
    return replace(
        HERE, verdict=verdict, detail="max abs error 3", board=board, date="2026-02-03",
        device=device,
    )  # fmt: skip


def test_what_was_written_is_read_back(tmp_path):
    records = [HERE, there("different", REAL), there("crashed", EMULATED, "other")]
    path = verdict_path(tmp_path)
    append_records(path, records)
    assert read_verdicts(path, []) == (records, 0)


def test_records_from_before_there_were_devices_are_read(tmp_path):
    old = asdict(HERE)
    del old["board"], old["date"], old["device"]
    verdict_path(tmp_path).write_text(json.dumps(old) + "\n")
    skipped = []
    assert read_verdicts(verdict_path(tmp_path), skipped) == ([HERE], 0)
    assert skipped == []


def test_verdicts_on_other_code_do_not_count(tmp_path):
    append_records(verdict_path(tmp_path), [replace(HERE, versions="older")])
    assert read_verdicts(verdict_path(tmp_path), []) == ([], 0)


def test_verdicts_of_a_board_are_its_devices_and_none_of_this_machine():
    records = [HERE, there("different", REAL), there("crashed", REAL, "other")]
    assert find_verdicts(records) == {HERE.key: HERE}
    assert find_verdicts(records, "b") == {HERE.key: records[1]}
    assert find_verdicts(records, "unknown") == {}


words = st.lists(st.tuples(st.booleans(), st.sampled_from(["equal", "different"])), max_size=8)


@given(words)
def test_a_real_device_counts_more_than_an_emulated_one_and_the_latest_counts(given):
    records = [there(verdict, REAL if real else EMULATED) for real, verdict in given]
    found = find_verdicts(records, "b")
    of_real = [record for record in records if record.device == REAL]
    wanted = (of_real or records)[-1:]
    assert list(found.values()) == wanted


def test_the_sentence_names_the_device_and_says_emulated():
    assert there("different", REAL).refusal.rule == "checked.different"
    reason = there("different", REAL).refusal.reason
    assert reason == (
        "its code differs from ONNX Runtime: max abs error 3 (on rack-07, 2026-02-03)"
    )
    assert "(on qemu, emulated, 2026-02-03)" in there("crashed", EMULATED).refusal.reason
    assert HERE.refusal is None
    assert replace(HERE, verdict="different", detail="x").refusal.reason.endswith(": x")


@pytest.mark.parametrize(("board", "left"), [("b", 2), ("other", 2), ("", 2), ("none", 3)])
def test_verdicts_are_forgotten_by_board(tmp_path, board, left):
    path = verdict_path(tmp_path)
    records = [HERE, there("different", REAL), there("crashed", REAL, "other")]
    append_records(path, records)
    forget_verdicts(path, board)
    kept, _ = read_verdicts(path, [])
    assert kept == [record for record in records if record.board != board]
    assert len(kept) == left


def test_forgetting_in_an_empty_folder_writes_nothing(tmp_path):
    forget_verdicts(verdict_path(tmp_path), "b")
    assert list(tmp_path.iterdir()) == []
