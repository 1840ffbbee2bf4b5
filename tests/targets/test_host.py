import os
from pathlib import Path

import pytest

from edgeweave.targets.cpuinfo import Cpu
from edgeweave.targets.host import describe_host, detect_host
from edgeweave.targets.host_speed import HostSpeed, cached_speed, measure_host

SPEED = HostSpeed({1: 5.0, 2: 8.0, 4: 10.0}, 6.0, 2.5, 64, 5, "2026-01-31")


def cpu(cores: tuple[int, ...], physical: int) -> Cpu:
    flags = frozenset({"avx2", "fma"})
    return Cpu("x86_64", "m", flags, cores, physical, 2500.0, "a file", 1.0, 4096)


def test_two_engines_share_the_cores_and_each_number_has_an_origin() -> None:
    board = describe_host(cpu((0, 1, 2, 3), 4), SPEED)
    assert [(e.name, e.cores) for e in board.engines] == [("cpu0", (0, 1)), ("cpu1", (2, 3))]
    assert board.engine("cpu0").peak_gops["float32"].value == 2 * 2.5 * 32
    assert board.engine("cpu0").memory_efficiency.value == 0.8
    assert board.dram_gb_s.value == 20.0
    link = board.link("cpu0", "cpu1")
    assert (link.bandwidth_gb_s.value, link.latency_us.value) == (5.0, 6.0)
    assert link.latency_us.origin.startswith("measured 2026-01-31")
    assert "numpy copy of 64 MiB, best of 5" in board.dram_gb_s.origin
    assert all(q.origin for q in board.quantities().values())


def test_hardware_threads_share_the_peak_of_their_core() -> None:
    board = describe_host(cpu((0, 2, 1, 3), 2), SPEED)
    assert board.engine("cpu0").peak_gops["float32"].value == 1 * 2.5 * 32


def test_one_core_is_one_engine_without_a_link() -> None:
    board = describe_host(cpu((0,), 1), SPEED)
    assert [e.name for e in board.engines] == ["cpu0"]
    assert board.links == ()


def test_the_machine_is_measured_once_and_then_read_from_the_cache(tmp_path: Path) -> None:
    board = detect_host(tmp_path)
    assert board.name == "host"
    assert board.is_host
    cores = [core for engine in board.engines for core in engine.cores]
    assert sorted(cores) == sorted(os.sched_getaffinity(0))
    (file,) = tmp_path.iterdir()
    kept = file.read_text()
    assert detect_host(tmp_path) == board
    assert file.read_text() == kept


def test_code_for_the_host_uses_nothing_that_this_machine_lacks(cache_folder: Path) -> None:
    from edgeweave.runtime.cpu_features import lacking_features
    from edgeweave.targets.cpu.target import find_features

    for engine in detect_host(cache_folder).engines:
        needed = find_features(engine)
        assert needed
        assert lacking_features(needed) == []


def keep(path: Path) -> list[str]:
    """Measure through the cache file and tell how often a measurement was made."""
    calls = []

    def measure() -> HostSpeed:
        calls.append("measured")
        return SPEED

    assert cached_speed(path, {1, 2}, measure) == SPEED
    return calls


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 0}',
        '{"format": 2}',
        '{"format": 2, "copy_gb_s": 3}',
        '{"format": 2, "copy_gb_s": {"1": 5}, "handover_us": 1, "clock_ghz": 1, '
        '"buffer_mib": 1, "repeats": 1, "date": ""}',
        '{"format": 2, "copy_gb_s": {"1": 5, "2": 0}, "handover_us": 1, "clock_ghz": 1, '
        '"buffer_mib": 1, "repeats": 1, "date": ""}',
        '{"format": 2, "copy_gb_s": {"1": 5, "2": 5}, "handover_us": NaN, "clock_ghz": 1, '
        '"buffer_mib": 1, "repeats": 1, "date": ""}',
        '{"format": 2, "copy_gb_s": {"1": 5, "2": 5}, "handover_us": "x", "clock_ghz": 1, '
        '"buffer_mib": 1, "repeats": 1, "date": ""}',
    ],
)
def test_a_damaged_cache_is_measured_anew_and_replaced(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.write_text(damage)
    assert keep(path) == ["measured"]
    assert keep(path) == []
    assert [p.name for p in tmp_path.iterdir()] == ["host.json"]


def test_a_refresh_measures_although_the_cache_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    keep(path)
    other = HostSpeed({1: 1.0, 2: 1.0}, 1.0, 1.0, 64, 5, "2026-02-01")
    assert cached_speed(path, {1}, lambda: other, refresh=True) == other
    assert cached_speed(path, {1}, lambda: SPEED) == other


def test_without_a_cache_every_detection_measures() -> None:
    assert cached_speed(None, {1}, lambda: SPEED) == SPEED


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="is not cached"):
        assert cached_speed(tmp_path / "absent" / "host.json", {1}, lambda: SPEED) == SPEED


def test_a_cache_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.mkdir()
    with pytest.warns(RuntimeWarning, match="is not cached"):
        cached_speed(path, {1}, lambda: SPEED)
    assert list(tmp_path.iterdir()) == [path]


def test_measured_speeds_are_positive_and_say_how_they_were_taken() -> None:
    speed = measure_host({1, 2}, cache_mib=1, memory_kib=64 * 16 * 1024, clock_ghz=2.0)
    assert set(speed.copy_gb_s) == {1, 2}
    assert all(value > 0 for value in speed.copy_gb_s.values())
    assert speed.handover_us > 0
    assert speed.buffer_mib == 64
