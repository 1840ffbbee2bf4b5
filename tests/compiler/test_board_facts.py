from dataclasses import replace

import pytest

from edgeweave.compiler.board_facts import BoardFacts
from edgeweave.compiler.checks import Checks
from edgeweave.compiler.code_version import code_version
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.regions import find_regions
from edgeweave.compiler.verdicts import CheckRecord, record_key, verdict_path
from edgeweave.partition.prediction.json_lines import append_records
from edgeweave.partition.prediction.measurements import MeasureKey, Measurement, MeasurementStore
from edgeweave.partition.prediction.profiled import LinkMeasurement, ProfiledDevice
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.targets.backend import Slot
from edgeweave.targets.board_schema import parse_board
from edgeweave.targets.host import detect_host

REAL = DeviceStamp("rack-07", "10af", "aarch64", ("cortex-a53",) * 2, "measured")
EMULATED = replace(REAL, name="qemu", word="emulated")
DATE = "2026-02-03"


@pytest.fixture(scope="module")
def host(cache_folder):
    return detect_host(cache_folder)


@pytest.fixture(scope="module")
def board(own_board):
    return parse_board(own_board("facts", mcpu="cortex-a53", mtriple="aarch64-linux-gnu"), "facts")


@pytest.fixture(scope="module")
def regions(canonical):
    text = "g (float[2,3] x) => (float[2,3] y) { h = Softmax(x) y = LpNormalization(h) }"
    return find_regions(canonical(text)).graph.regions


def fill(folder, board, region, device, seconds=1.0):
    """As a profile on that device does."""
    store = MeasurementStore(folder)
    engine = board.engines[0]
    for each in (region, empty_call().graph.regions[0]):
        key = MeasureKey.of(each, engine, "cpu", board)
        store.add([Measurement(key, seconds, 0.0, 9, code_version("cpu"), DATE, 0, device)])
    cores = (board.engines[0].cores, board.engines[1].cores)
    store.add_links([LinkMeasurement(board.identity, ("a", "b"), cores, 7, 1, 2, 9, device, DATE)])
    store.add_calibration(board, replace(engine), device, DATE)
    store.add_device(ProfiledDevice(board.identity, device, ("tvm",), DATE))


def judge(folder, board, region, verdict, device):
    key = record_key(region, board.engines[0], "cpu")
    record = CheckRecord(*key, code_version("cpu"), verdict, "detail", board.identity, DATE, device)
    append_records(verdict_path(folder), [record])


def test_a_board_that_was_never_profiled_is_as_its_file_says(host, board, regions, tmp_path):
    checks = Checks(host, tmp_path, board)
    assert checks.board == board
    assert checks.facts.uses(regions) == ()
    assert (checks.facts.emulated, checks.facts.stale, checks.notes) == (0, 0, [])
    assert checks.refuse(regions[0], board.engines[0], "onnxruntime") is None


def test_this_machine_and_memory_have_no_facts(host, board):
    assert Checks(host, None, board).facts is None
    assert Checks(host, None, board).board == board
    assert Checks(host, None).board == host


def test_what_a_real_device_measured_is_planned_with(host, board, regions, tmp_path):
    fill(tmp_path, board, regions[0], REAL)
    checks = Checks(host, tmp_path, board)
    assert [key.digest for key in checks.measured] == [
        regions[0].digest,
        empty_call().graph.regions[0].digest,
    ]
    # engines a and b are equal, so they share what was measured
    assert checks.call_s == {Slot("a", "cpu"): 1.0, Slot("b", "cpu"): 1.0}
    assert checks.board.links[0].latency_us.value == 7
    (use,) = checks.facts.uses(regions)
    assert (use.device, use.date) == (REAL, DATE)
    assert (use.costs, use.calls, use.links, use.calibrations, use.verdicts) == (1, 1, 1, 1, 0)
    assert checks.notes == []


def test_nothing_but_verdicts_is_taken_from_an_emulated_device(host, board, regions, tmp_path):
    fill(tmp_path, board, regions[0], EMULATED)
    judge(tmp_path, board, regions[0], "different", EMULATED)
    checks = Checks(host, tmp_path, board)
    assert checks.measured == {}
    assert checks.call_s == {}
    assert checks.board == board
    (use,) = checks.facts.uses(regions)
    assert (use.costs, use.calls, use.links, use.calibrations, use.verdicts) == (0, 0, 0, 0, 1)
    assert checks.facts.emulated == 4
    assert checks.notes == [
        "4 emulated figures of facts left out: a plan takes no cost from an emulated device"
    ]
    refusal = checks.refuse(regions[0], board.engines[0], "cpu")
    assert refusal.rule == "checked.different"
    assert "qemu, emulated, 2026-02-03" in refusal.reason


def test_an_emulated_figure_does_not_replace_a_measured_one(host, board, regions, tmp_path):
    fill(tmp_path, board, regions[0], REAL, seconds=1.0)
    fill(tmp_path, board, regions[0], EMULATED, seconds=9.0)
    checks = Checks(host, tmp_path, board)
    assert set(checks.measured.values()) == {1.0}
    assert {use.device for use in checks.facts.uses(regions)} == {REAL}


def test_figures_of_another_board_and_of_other_code_are_not_used(host, board, regions, tmp_path):
    fill(tmp_path, replace(board, identity="facts 2"), regions[0], REAL)
    key = MeasureKey.of(regions[0], board.engines[0], "cpu", board)
    MeasurementStore(tmp_path).add([Measurement(key, 1.0, 0.0, 9, "older", DATE, 0, REAL)])
    checks = Checks(host, tmp_path, board)
    assert key not in checks.measured
    assert checks.facts.uses(regions) == ()
    assert checks.board == board
    assert checks.facts.stale == 1
    assert checks.notes == [
        "1 measured figure of facts left out: the code of today is another; profile the board again"
    ]


def test_a_device_without_onnx_runtime_refuses_its_stages(host, board, regions, tmp_path):
    fill(tmp_path, board, regions[0], REAL)
    refusal = Checks(host, tmp_path, board).refuse(regions[1], board.engines[1], "onnxruntime")
    assert refusal.rule == "device.runner"
    assert refusal.reason == "rack-07 runs no onnxruntime stages (profiled 2026-02-03)"
    able = ProfiledDevice(board.identity, REAL, ("tvm", "onnxruntime"), DATE)
    MeasurementStore(tmp_path).add_device(able)
    checks = Checks(host, tmp_path, board)
    assert checks.refuse(regions[1], board.engines[1], "onnxruntime") is None


def test_an_emulated_device_says_so_where_it_refuses(host, board, regions, tmp_path):
    fill(tmp_path, board, regions[0], EMULATED)
    refusal = Checks(host, tmp_path, board).refuse(regions[0], board.engines[0], "onnxruntime")
    assert refusal.reason == "qemu runs no onnxruntime stages (profiled 2026-02-03, emulated)"


def test_a_verdict_of_the_device_counts_in_place_of_this_machines(host, board, regions, tmp_path):
    here = record_key(regions[0], host.engines[0], "cpu")
    wrong = CheckRecord(*here, code_version("cpu"), "different", "here")
    append_records(verdict_path(tmp_path), [wrong])
    assert Checks(host, tmp_path, board).refuse(regions[0], board.engines[0], "cpu") is not None
    judge(tmp_path, board, regions[0], "equal", EMULATED)
    checks = Checks(host, tmp_path, board)
    assert checks.refuse(regions[0], board.engines[0], "cpu") is None
    # this machine itself still knows better
    assert Checks(host, tmp_path).refuse(regions[0], host.engines[0], "cpu") is not None


def test_a_verdict_of_a_device_is_a_check(host, board, regions, tmp_path):
    judge(tmp_path, board, regions[0], "equal", REAL)
    assert Checks(host, tmp_path, board).is_checked(regions[0], "cpu")
    assert not Checks(host, tmp_path).is_checked(regions[0], "cpu")


def test_a_static_rule_speaks_before_a_verdict(host, board, regions, tmp_path):
    judge(tmp_path, board, regions[1], "equal", REAL)
    refusal = Checks(host, tmp_path, board).refuse(regions[1], board.engines[0], "cpu")
    assert refusal.rule == "cpu.operators"


def test_one_emulated_figure_is_told_in_the_singular(board):
    from edgeweave.partition.prediction.measurements import Readings

    link = LinkMeasurement("facts", ("a", "b"), ((0,), (1,)), 7, 1, 2, 9, EMULATED, DATE)
    facts = BoardFacts(board, Readings((), (), (), 0, (link,)))
    assert facts.notes[0].startswith("1 emulated figure of facts left out: ")
