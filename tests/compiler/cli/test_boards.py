"""``edgeweave boards`` and ``edgeweave rules``."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgeweave.partition.prediction.measurements import MeasurementStore
from edgeweave.targets.board import Quantity
from edgeweave.targets.board_file import bundled_boards, load_board
from edgeweave.targets.cpuinfo import read_cpu, split_cores
from edgeweave.targets.registry import backend_names, find_backend

BOARD = """
name = "mine"
description = "one core"
[memory]
dram_gb_s = { value = 4, origin = "UNSOURCED: guessed" }
[[engine]]
name = "a55"
kind = "cpu"
description = "Cortex-A55"
backends = ["cpu", "onnxruntime"]
cores = [0]
llvm_target = { mtriple = "aarch64-linux-gnu", mcpu = "cortex-a55" }
clock_ghz = { value = 1.8, origin = "datasheet" }
peak_float32_gops = { value = 14.4, origin = "derived" }
compute_efficiency = { value = 0.143, origin = "published tables" }
memory_efficiency = { value = 0.5, origin = "UNSOURCED: assumed" }
call_overhead_us = { value = 20, origin = "UNSOURCED: assumed" }
"""


@pytest.fixture
def board_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(BOARD)
    return path


def test_the_list_holds_every_board_with_its_engines_and_memory(edgeweave):
    said = edgeweave("boards")
    assert (said.status, said.err) == (0, "")
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert set(lines) == {"board", "host", *bundled_boards()}
    assert "a76, a55, gpu, npu0, npu1, npu2" in lines["rk3588"]
    assert "34.1 GB/s" in lines["rk3588"]


def test_the_list_as_json_counts_the_numbers_nothing_stands_behind(edgeweave):
    listed = {entry["name"]: entry for entry in json.loads(edgeweave("boards", "--json").out)}
    numbers = load_board("imx93").quantities().values()
    assert listed["imx93"]["unsourced"] == sum(not number.is_sourced for number in numbers)
    assert listed["imx93"]["numbers"] == len(numbers)
    assert len(listed["host"]["engines"]) == len(split_cores(read_cpu().cores))


def test_a_board_is_shown_number_by_number_with_unit_and_origin(edgeweave, board_file):
    said = edgeweave("boards", board_file)
    assert said.status == 0
    lines = [line.split() for line in said.out.splitlines()]
    assert ["engine.a55.clock_ghz", "1.8", "GHz", "datasheet"] in lines
    assert "memory.dram_gb_s 4 10^9 bytes/s UNSOURCED: guessed".split() in lines
    assert said.out.endswith("3 of 6 numbers are UNSOURCED\n")


def test_a_board_as_json_has_every_number_of_the_file(edgeweave, board_file):
    shown = json.loads(edgeweave("boards", board_file, "--json").out)
    assert shown["quantities"]["engine.a55.call_overhead_us"] == {
        "value": 20.0, "unit": "us", "origin": "UNSOURCED: assumed", "sourced": False,
    }  # fmt: skip
    assert shown["quantities"].keys() == load_board(str(board_file)).quantities().keys()


@pytest.mark.parametrize("name", bundled_boards())
def test_every_number_of_a_bundled_board_has_a_unit(edgeweave, name):
    shown = json.loads(edgeweave("boards", name, "--json").out)
    assert [key for key, number in shown["quantities"].items() if not number["unit"]] == []


def test_the_host_is_measured_once_and_again_on_request(edgeweave, monkeypatch):
    first = json.loads(edgeweave("boards", "host", "--json").out)
    assert first["is_host"]
    assert edgeweave("boards", "host", "--json").out == json.dumps(first, indent=1) + "\n"
    asked = []
    monkeypatch.setattr(
        "edgeweave.targets.host.cached_speed",
        lambda path, threads, measure, refresh: asked.append(refresh) or measure(),
    )
    assert edgeweave("boards", "host", "--refresh").status == 0
    assert asked == [True]


def test_the_host_is_shown_with_its_calibration(edgeweave, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path))
    host = load_board("host")
    store = MeasurementStore(tmp_path)
    origin = "calibrated from 5 measured regions"
    engine = replace(
        host.engines[0],
        call_overhead_us=Quantity(7.25, origin),
        compute_efficiency=Quantity(0.25, origin),
    )
    store.add_calibration(host, engine)
    shown = json.loads(edgeweave("boards", "host", "--json").out)["quantities"]
    assert shown[f"engine.{engine.name}.call_overhead_us"]["value"] == 7.25
    assert "calibrated" in shown[f"engine.{engine.name}.compute_efficiency"]["origin"]


def test_only_the_host_can_be_measured_again(edgeweave):
    said = edgeweave("boards", "rk3588", "--refresh")
    assert said.status == 2
    assert "edgeweave boards host --refresh" in said.err


def test_an_unknown_board_is_told_with_the_closest_and_all_names(edgeweave):
    said = edgeweave("boards", "rk3568")
    assert (said.status, said.out) == (3, "")
    assert said.err.startswith("error: board 'rk3568': is not known. Did you mean rk3588?")
    assert "imx8mp" in said.err


def test_rules_lists_every_backend_and_the_rule_for_all(edgeweave):
    said = edgeweave("rules")
    assert said.status == 0
    for name in backend_names():
        for rule in find_backend(name).rules:
            assert any(
                line.split() == [rule.id, *rule.text.split()] for line in said.out.splitlines()
            )
    assert "engine.precision" in said.out


def test_rules_of_one_backend_leave_the_others_out(edgeweave):
    said = json.loads(edgeweave("rules", "onnxruntime", "--json").out)
    assert list(said) == ["every backend", "onnxruntime"]
    assert said["onnxruntime"][0]["id"] == "onnxruntime.cpu-engine"


def test_rules_of_an_unknown_backend_name_those_there_are(edgeweave):
    said = edgeweave("rules", "npu")
    assert (said.status, said.out) == (3, "")
    assert said.err == (
        "error: backend 'npu': is not part of this installation. "
        f"It has: {', '.join(backend_names())}\n"
    )
