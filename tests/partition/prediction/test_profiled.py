import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.measurements import (
    Calibration,
    MeasureKey,
    Measurement,
    MeasurementStore,
    Readings,
)
from edgeweave.partition.prediction.profiled import LinkMeasurement, ProfiledDevice
from edgeweave.partition.prediction.provenance import DeviceStamp, Word
from edgeweave.targets.board import Board, Engine, Link, Quantity

DATE = "2026-02-03"


def q(value: float, origin: str = "board file") -> Quantity:
    return Quantity(value, origin)


def cluster(name: str, cores: tuple[int, ...]) -> Engine:
    return Engine(
        name, "cpu", "", ("cpu",), {"float32": q(9.0)}, q(0.2), q(0.3), q(10.0), cores=cores,
        llvm_target={"mcpu": "cortex-a53"},
    )  # fmt: skip


BOARD = Board(
    "b",
    "",
    (cluster("a", (0,)), cluster("b", (1,))),
    (Link(("a", "b"), q(1.0), q(2.0)),),
    q(10.0),
    identity="b",
)


def stamp(word: Word = "measured", name: str = "rack-07") -> DeviceStamp:
    return DeviceStamp(
        name, "10af", "aarch64", ("cortex-a53",) * 2, word, ("performance",), 41.5, 47.0, "tvm 1"
    )


def measurement(word: Word, seconds: float, digest: str = "d") -> Measurement:
    key = MeasureKey(digest, "cpu", "cortex-a53", 1, "b")
    return Measurement(key, seconds, 1e-4, 30, "v1", DATE, 2, stamp(word))


def link(word: Word, latency_us: float = 30.0) -> LinkMeasurement:
    return LinkMeasurement(
        "b", ("b", "a"), ((1,), (0,)), latency_us, 1.0, 3.5, 50, stamp(word), DATE
    )


def calibration(word: Word, share: float = 0.4) -> Calibration:
    return Calibration("b", "a", share, share, 5.0, "fitted", stamp(word), DATE)


def filled(folder: Path) -> MeasurementStore:
    store = MeasurementStore(folder)
    store.add([measurement("measured", 1.0), measurement("emulated", 2.0)])
    store.add_links([link("measured"), link("emulated", 99.0)])
    store.add_calibration(BOARD, replace(BOARD.engines[0], compute_efficiency=q(0.4)), stamp())
    store.add_device(ProfiledDevice("b", stamp(), ("tvm",), DATE))
    return store


def test_everything_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    found = filled(tmp_path).read()
    assert found.measurements == (measurement("measured", 1.0), measurement("emulated", 2.0))
    assert found.links == (link("measured"), link("emulated", 99.0))
    assert found.devices == (ProfiledDevice("b", stamp(), ("tvm",), DATE),)
    assert found.calibrations[0].device == stamp()
    assert (found.skipped, found.cut_off) == ((), 0)


def test_records_from_before_there_were_devices_are_read(tmp_path: Path) -> None:
    old = asdict(measurement("measured", 1.0))
    del old["device"], old["outliers"]
    (tmp_path / "measurements.jsonl").write_text(json.dumps(old) + "\n")
    fitted = asdict(calibration("measured"))
    del fitted["device"], fitted["date"]
    (tmp_path / "calibrations.jsonl").write_text(json.dumps(fitted) + "\n")
    found = MeasurementStore(tmp_path).read()
    assert found.skipped == ()
    assert found.measurements[0].device is None
    assert list(found.seconds().values()) == [1.0]
    assert found.calibrated(BOARD).engine("a").compute_efficiency.value == 0.4


def test_a_measured_link_replaces_the_boards_and_says_where_it_was_taken() -> None:
    board = Readings((), (), (), 0, (link("measured"),)).calibrated(BOARD)
    (found,) = board.links
    assert (found.latency_us.value, found.bandwidth_gb_s.value) == (30.0, 3.5)
    assert found.latency_us.origin == "measured 2026-02-03 on rack-07, 50 times"
    assert found.between == ("a", "b")


def test_a_link_between_other_cores_is_not_this_boards() -> None:
    moved = replace(BOARD, engines=(cluster("a", (0,)), cluster("b", (2,))))
    assert Readings((), (), (), 0, (link("measured"),)).calibrated(moved) == moved


words = st.lists(st.sampled_from(["measured", "emulated"]), min_size=1, max_size=8)


@given(words, words, words)
def test_no_figure_of_an_emulated_device_is_planned_with(
    regions: list[Word], links: list[Word], fits: list[Word]
) -> None:
    """Whatever was stored, in whatever order: the latest measured figure, or the board file's."""
    readings = Readings(
        tuple(measurement(word, i + 1.0) for i, word in enumerate(regions)),
        tuple(calibration(word, (i + 1) / 100) for i, word in enumerate(fits)),
        (),
        0,
        tuple(link(word, i + 1.0) for i, word in enumerate(links)),
    )

    def last(given: list[Word]) -> int | None:
        return max((i for i, word in enumerate(given) if word == "measured"), default=None)

    at = last(regions)
    assert list(readings.seconds().values()) == ([] if at is None else [at + 1.0])
    assert all(not m.is_emulated for m in readings.latest().values())
    board = readings.calibrated(BOARD)
    at = last(links)
    assert board.links[0].latency_us.value == (2.0 if at is None else at + 1.0)
    at = last(fits)
    assert board.engine("a").compute_efficiency.value == (0.2 if at is None else (at + 1) / 100)
    assert not any("emulated" in quantity.origin for quantity in board.quantities().values())
    count = sum("emulated" in given for given in (regions, links, fits))
    assert len(readings.emulated(BOARD)) == count


def test_emulated_figures_of_other_versions_and_boards_are_not_counted() -> None:
    readings = Readings((measurement("emulated", 1.0),), (calibration("emulated"),), (), 0)
    assert len(readings.emulated(BOARD)) == 2
    assert len(readings.emulated(BOARD, {"cpu": "v2"})) == 1
    assert readings.emulated(replace(BOARD, identity="other")) == set()


def test_the_device_of_a_board_is_the_one_that_was_profiled_last() -> None:
    first, second = (ProfiledDevice("b", stamp(name=name), ("tvm",), DATE) for name in "xy")
    readings = Readings((), (), (), 0, (), (first, second))
    assert readings.device(BOARD) == second
    assert readings.device(replace(BOARD, identity="other")) is None


def test_a_board_is_forgotten_and_others_are_not(tmp_path: Path) -> None:
    store = filled(tmp_path)
    other = replace(BOARD, identity="other")
    kept = replace(measurement("measured", 3.0), key=MeasureKey("d", "cpu", "u", 1, "other"))
    store.add([kept])
    store.add_device(ProfiledDevice("other", stamp(), ("tvm",), DATE))
    store.forget(BOARD)
    found = store.read()
    assert found.measurements == (kept,)
    assert (found.links, found.calibrations) == ((), ())
    assert [device.board for device in found.devices] == ["other"]
    assert found.device(other) is not None
    assert (found.skipped, found.cut_off) == ((), 0)
    store.add([measurement("measured", 5.0)])
    assert store.read().measurements == (kept, measurement("measured", 5.0))


def test_forgetting_in_an_empty_folder_writes_nothing(tmp_path: Path) -> None:
    MeasurementStore(tmp_path).forget(BOARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"latency_us": 0.0},
        {"bandwidth_gb_s": float("nan")},
        {"device": None},
        {"device": {"name": "x"}},
        {"device": asdict(stamp()) | {"word": "guessed"}},
        {"cores": [[0]]},
    ],
)
def test_a_bad_link_is_skipped_and_reported(change: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "links.jsonl").write_text(json.dumps(asdict(link("measured")) | change) + "\n")
    found = MeasurementStore(tmp_path).read()
    assert found.links == ()
    assert found.skipped[0].startswith("links.jsonl:1: ")


def test_a_figure_whose_word_is_unknown_is_no_cost(tmp_path: Path) -> None:
    data = asdict(measurement("measured", 1.0))
    data["device"]["word"] = "simulated"
    (tmp_path / "measurements.jsonl").write_text(json.dumps(data) + "\n")
    found = MeasurementStore(tmp_path).read()
    assert found.seconds() == {}
    assert "'simulated' is no word for its figures" in found.skipped[0]


def test_a_device_is_described_by_its_cores() -> None:
    device = replace(stamp(), parts=("cortex-a55",) * 4 + ("",) * 2)
    assert str(device) == "rack-07 (aarch64, 4x cortex-a55, 2x unknown CPU)"


def test_a_word_other_than_measured_and_emulated_is_an_error() -> None:
    with pytest.raises(PartitionError, match="'fast' is no word"):
        DeviceStamp("d", "", "aarch64", (), "fast")  # type: ignore[arg-type]
