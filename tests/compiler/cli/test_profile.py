"""``edgeweave profile``."""

from __future__ import annotations

import json


def test_a_profile_is_shown_slowest_first_with_its_calibration(edgeweave, model):
    said = edgeweave("profile", model, "--board", "host", "--repeats", "3")
    assert said.status == 0, said.err
    assert said.out.startswith("small.onnx on host: 2 regions, 2 distinct; whole calls, measured\n")
    assert "a call that computes nothing" in said.out
    assert "cpu0/onnxruntime" in said.out
    assert "2 measured regions do not determine 3 parameters" in said.err


def test_a_profile_as_json_has_the_times_of_every_slot(edgeweave, model):
    shown = json.loads(
        edgeweave("profile", model, "--board", "host", "--repeats", "3", "--json").out
    )
    assert [region["count"] for region in shown["regions"]] == [1, 1]
    for region in shown["regions"]:
        assert {time["slot"]["backend"] for time in region["times"]} == {"cpu", "onnxruntime"}
        assert all(time["measurement"]["seconds"] > 0 for time in region["times"])
    assert shown["calls"]


def test_only_this_machine_can_be_profiled(edgeweave, model):
    said = edgeweave("profile", model, "--board", "imx93")
    assert (said.status, said.out) == (3, "")
    assert "board imx93: its regions can be measured on the device only" in said.err
