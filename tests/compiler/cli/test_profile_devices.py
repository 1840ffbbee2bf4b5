"""``edgeweave profile --rpc``, on the real device program on this machine."""

from __future__ import annotations

import json
import math

import pytest

from edgeweave.compiler.devices import bench as device_bench
from edgeweave.partition.prediction.soundness import Limits


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own; and this machine, busy as it is, counts as a device that keeps still."""
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(device_bench, "LIMITS", Limits(*[math.inf] * 5))
    return tmp_path / "cache"


@pytest.fixture
def board(own_board, tmp_path):
    path = tmp_path / "rack.toml"
    path.write_text(own_board("rack"))
    return path


@pytest.fixture
def rpc(start_device):
    device = start_device("--name", "rack-01")
    return f"{device.host}:{device.port}"


def profile(edgeweave, model, board, rpc, *options):
    return edgeweave("profile", model, "--board", board, "--rpc", rpc, "--repeats", "3", *options)


def test_a_profile_is_shown_and_the_next_plan_says_what_it_took(
    edgeweave, model, board, rpc, cache
):
    said = profile(edgeweave, model, board, rpc)
    assert said.status == 0, said.err
    assert said.out.startswith("small.onnx on rack: 2 regions, 2 distinct; whole calls, measured\n")
    assert "a call that computes nothing" in said.out
    assert "a/cpu" in said.out
    assert "  rack-01  127.0.0.1:" in said.out
    assert "measured on rack-01" in said.out
    assert said.out.splitlines()[-1] == (
        "kept: 4 times of regions, 1 link, 0 calibrations; the next plan for rack uses them"
    )
    assert "2 measured regions do not determine 3 parameters" in said.err
    said = edgeweave("plan", model, "--board", board)
    assert said.status == 0, said.err
    assert "\nmeasured on rack-01 (" in said.out
    assert ": 2 costs, 1 call, 1 link, 2 verdicts\n" in said.out
    assert "2 measured" in said.out
    assert "device.runner" in said.out


def test_a_profile_as_json(edgeweave, model, board, rpc, cache):
    shown = json.loads(profile(edgeweave, model, board, rpc, "--json").out)
    assert (shown["board"], shown["word"], shown["kept"]) == ("rack", "measured", 4)
    (device,) = shown["devices"]
    assert (device["name"], device["measured"], device["fault"]) == ("rack-01", 3, None)
    assert device["device"]["word"] == "measured"
    for region in shown["regions"]:
        for time in region["times"]:
            assert time["measurement"]["seconds"] > 0
            assert time["measurement"]["device"]["name"] == "rack-01"
    (link,) = shown["links"]
    assert link["fault"] == ""
    assert shown["outliers"]["calls"] >= 9
    planned = json.loads(edgeweave("plan", model, "--board", board, "--json").out)
    (use,) = planned["devices"]["used"]
    assert (use["device"]["name"], use["costs"], use["verdicts"]) == ("rack-01", 2, 2)
    assert planned["devices"]["emulated_left_out"] == 0


def test_a_compilation_uses_what_was_measured(edgeweave, model, board, rpc, cache, tmp_path):
    profile(edgeweave, model, board, rpc)
    said = edgeweave("compile", model, "--board", board, "-o", tmp_path / "out", "--json")
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    assert {p["source"] for p in shown["placements"]} == {"measured"}


def test_a_profile_over_a_tracker(edgeweave, model, board, start_device, tracker, cache):
    start_device("--name", "rack-02", tracker=tracker, key="cli-profile")
    said = profile(
        edgeweave, model, board, f"{tracker.host}:{tracker.port}", "--key", "cli-profile",
        "--devices", "1",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert "  rack-02  127.0.0.1:" in said.out


def test_a_profile_with_a_secret(edgeweave, model, board, start_device, cache, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("quiet words\n")
    device = start_device("--secret-file", str(secret))
    address = f"{device.host}:{device.port}"
    assert profile(edgeweave, model, board, address, "--secret-file", secret).status == 0
    said = profile(edgeweave, model, board, address)
    assert said.status == 5
    assert "serves only those who know its secret" in said.err


def test_a_device_that_does_not_keep_still_is_named_and_nothing_is_kept(
    edgeweave, model, board, rpc, cache, monkeypatch
):
    monkeypatch.setattr(device_bench, "LIMITS", Limits(*[math.inf] * 3, -0.9, math.inf))
    monkeypatch.setattr("edgeweave.compiler.devices.timing._RESTS", 0)
    said = profile(edgeweave, model, board, rpc)
    assert said.status == 5
    assert "broken, not kept: r000 Relu, " in said.out
    assert "the device is throttled or busy [control]" in said.out
    assert "no time of a region was kept (rack-01: one and the same kernel took" in said.err


def test_a_board_is_forgotten(edgeweave, model, board, rpc, cache):
    profile(edgeweave, model, board, rpc)
    said = edgeweave("profile", "--forget", "--board", board)
    assert said.status == 0, said.err
    assert said.out == ("forgotten of rack: 3 times, 1 link, 3 verdicts, 1 device\n")
    said = edgeweave("plan", model, "--board", board)
    assert "rack-01" not in said.out
    shown = json.loads(edgeweave("profile", "--forget", "--board", board, "--json").out)
    assert set(shown["forgotten"].values()) == {0}
    said = edgeweave("profile", "--forget", "--board", board)
    assert said.out == "forgotten of rack: nothing, there was nothing\n"


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (["--board", "host", "--rpc", "127.0.0.1:1"], 2, "name the board that the device is"),
        (["--board", "imx93", "--rpc", "127.0.0.1"], 2, "--rpc"),
        (
            ["--board", "imx93", "--rpc", "127.0.0.1:1", "--devices", "2"],
            2,
            "--devices needs --key",
        ),
        (["--board", "host", "--key", "k"], 2, "--key needs --rpc"),
        (["--board", "host", "--devices", "2"], 2, "--devices needs --rpc"),
        (["--board", "imx93"], 3, "Name the device with --rpc HOST:PORT"),
        (["--board", "nowhere", "--rpc", "127.0.0.1:1"], 3, "is not known"),
        (["--board", "imx93", "--rpc", "127.0.0.1:1"], 5, "device 127.0.0.1:1: cannot be reached"),
        (["--board", "imx93", "--rpc", "127.0.0.1:1", "--key", "k"], 5, "tracker 127.0.0.1:1"),
        (["--board", "imx93", "--forget"], 2, "--forget measures nothing"),
    ],
)
def test_what_cannot_be_profiled_is_one_line(edgeweave, model, cache, options, status, told):
    said = edgeweave("profile", model, *options)
    assert (said.status, said.out) == (status, "")
    assert told in said.err
    assert "Traceback" not in said.err


def test_a_model_is_needed(edgeweave, cache):
    said = edgeweave("profile", "--board", "host")
    assert said.status == 2
    assert "Missing argument 'MODEL'" in said.err


def test_a_device_of_another_architecture_is_named(edgeweave, model, rpc, cache):
    said = profile(edgeweave, model, "imx93", rpc)
    assert said.status == 5
    assert "device rack-01 (127.0.0.1:" in said.err
    assert "and the board's CPUs are aarch64" in said.err


def test_a_device_without_the_features_is_named(edgeweave, model, own_board, rpc, cache, tmp_path):
    path = tmp_path / "newer.toml"
    path.write_text(own_board("newer", mcpu="sapphirerapids"))
    said = profile(edgeweave, model, path, rpc)
    assert said.status == 5
    assert said.out == ""
    assert "its CPU lacks " in said.err
    assert "which code for a of newer uses" in said.err
