import subprocess
import sys
from pathlib import Path

import pytest

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.measurements import (
    Calibration,
    MeasureKey,
    Measurement,
    MeasurementStore,
    Readings,
)
from edgeweave.targets.board import Board, Engine, Quantity
from edgeweave.targets.region import Region


def q(value: float, origin: str = "test") -> Quantity:
    return Quantity(value, origin)


def cluster(name: str, kind: str, mcpu: str, cores: tuple[int, ...]) -> Engine:
    target = {"mcpu": mcpu} if mcpu else {}
    numbers = (q(0.143), q(0.5), q(20.0))
    return Engine(
        name, kind, "", ("b",), {"int8": q(1.0)}, *numbers, cores=cores, llvm_target=target
    )


BOARD = Board(
    "b",
    "",
    (
        cluster("a", "cpu", "cortex-a53", (0, 1)),
        cluster("b", "cpu", "cortex-a53", (2, 3)),
        cluster("c", "cpu", "cortex-a76", (4, 5)),
        cluster("n", "npu", "", ()),
    ),
    (),
    q(10.0),
    identity="id",
)
REGION = Region(0, (), (), (), 1, 1, 0, "int8", "d")


def key(digest: str = "d", backend: str = "cpu") -> MeasureKey:
    return MeasureKey(digest, backend, "cortex-a53", 2, "id")


def measurement(seconds: float, digest: str = "d", versions: str = "v1") -> Measurement:
    return Measurement(key(digest), seconds, 0.001, 5, versions, "2026-01-31")


def test_equal_clusters_share_a_key_and_unlike_ones_do_not() -> None:
    keys = [MeasureKey.of(REGION, engine, "cpu", BOARD) for engine in BOARD.engines]
    assert keys[0] == keys[1] == key()
    assert len(set(keys)) == 3
    assert (keys[3].unit, keys[3].threads) == ("n", 1)


def test_an_empty_store_holds_nothing(tmp_path: Path) -> None:
    assert MeasurementStore(tmp_path / "none").read() == Readings((), (), (), 0)


def test_what_was_added_is_read_back_and_the_latest_wins(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "new")
    store.add([measurement(1.0), measurement(2.0, "other")])
    store.add([measurement(3.0)])
    found = store.read()
    assert found.measurements == (
        measurement(1.0),
        measurement(2.0, "other"),
        measurement(3.0),
    )
    assert found.seconds() == {key(): 3.0, key("other"): 2.0}
    assert (found.skipped, found.cut_off) == ((), 0)


def test_figures_of_other_versions_are_left_out_when_versions_are_given(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    store.add([measurement(1.0, versions="v1"), measurement(2.0, versions="v2")])
    found = store.read()
    assert found.seconds({"cpu": "v1"}) == {key(): 1.0}
    assert found.seconds({"cpu": "v3"}) == {}
    assert found.seconds({}) == {}


def test_adding_nothing_writes_nothing(tmp_path: Path) -> None:
    MeasurementStore(tmp_path).add([])
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_a_crash_cut_off_is_counted_and_the_next_one_is_whole(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    store.add([measurement(1.0), measurement(2.0, "other")])
    path = tmp_path / "measurements.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    found = store.read()
    assert found.seconds() == {key(): 1.0}
    assert (found.cut_off, found.skipped) == (1, ())
    store.add([measurement(4.0, "new")])
    found = store.read()
    assert found.seconds() == {key(): 1.0, key("new"): 4.0}
    assert found.cut_off == 0
    assert [line.partition(": ")[0] for line in found.skipped] == ["measurements.jsonl:2"]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b'{"key": 3}',
        b'{"key": {"digest": "d"}, "seconds": 1}',
        b'{"key": {"digest": ["d"], "backend": "cpu", "unit": "u", "threads": 1, "board": "b"}, '
        b'"seconds": 1, "spread_s": 0, "repeats": 1, "versions": "", "date": ""}',
        b'{"key": {"digest": "d", "backend": "cpu", "unit": "u", "threads": 1, "board": "b"}, '
        b'"seconds": NaN, "spread_s": 0, "repeats": 1, "versions": "", "date": ""}',
        b'{"key": {"digest": "d", "backend": "cpu", "unit": "u", "threads": 1, "board": "b"}, '
        b'"seconds": "1", "spread_s": 0, "repeats": 1, "versions": "", "date": ""}',
    ],
)
def test_a_bad_line_is_skipped_and_reported_with_its_number(line: bytes, tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    path = tmp_path / "measurements.jsonl"
    path.write_bytes(line + b"\n\n")
    store.add([measurement(1.0)])
    found = store.read()
    assert found.seconds() == {key(): 1.0}
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("measurements.jsonl:1: ")


ADD_MANY = """
import sys
from pathlib import Path
from edgeweave.partition.prediction.measurements import MeasureKey, Measurement, MeasurementStore
folder, name = sys.argv[1:]
for i in range(40):
    keys = [MeasureKey(f"{name}-{i}-{k}", "cpu", "u", 1, "id") for k in range(3)]
    records = [Measurement(key, 1.0 + i, 0.0, 5, "v", "2026-01-31") for key in keys]
    MeasurementStore(Path(folder)).add(records)
"""


def test_several_processes_append_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADD_MANY, str(tmp_path)]
    workers = [subprocess.Popen([*command, name]) for name in "xyz"]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    found = MeasurementStore(tmp_path).read()
    assert len(found.seconds()) == 3 * 40 * 3
    assert (found.skipped, found.cut_off) == ((), 0)


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PartitionError, match=r"measurements\.jsonl: cannot be written"):
        MeasurementStore(tmp_path / "file").add([measurement(1.0)])


def test_a_store_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "measurements.jsonl").mkdir()
    with pytest.raises(PartitionError, match=r"measurements\.jsonl: cannot be read"):
        MeasurementStore(tmp_path).read()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_duration_is_no_measurement(seconds: float) -> None:
    with pytest.raises(PartitionError, match="is not a measured duration"):
        measurement(seconds)


def test_the_latest_calibration_of_an_engine_is_used_by_the_next_plan(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    for value in (0.2, 0.3):
        fitted = Engine(
            "a", "cpu", "", (), {}, q(value, "calibrated"), q(value, "calibrated"), q(7.0)
        )
        store.add_calibration(BOARD, fitted)
    board = store.read().calibrated(BOARD)
    assert board.engine("a").compute_efficiency == q(0.3, "calibrated")
    assert board.engine("a").memory_efficiency == q(0.3, "calibrated")
    assert board.engine("a").call_overhead_us == q(7.0, "calibrated")
    assert board.engine("a").cores == BOARD.engine("a").cores
    assert board.engine("b") == BOARD.engine("b")


def test_a_calibration_of_another_board_is_not_used() -> None:
    other = Calibration("other", "a", 0.2, 0.2, 1.0, "x")
    assert Readings((), (other,), (), 0).calibrated(BOARD) == BOARD


@pytest.mark.parametrize("numbers", [(1.5, 0.5, 1.0), (0.5, 0.0, 1.0), (0.5, 0.5, 0.0)])
def test_a_calibration_outside_its_range_is_an_error(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(PartitionError, match="calibration"):
        Calibration("b", "a", *numbers, "x")
