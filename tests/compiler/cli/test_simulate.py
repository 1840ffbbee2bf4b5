"""``edgeweave simulate`` on bundles and dumps, and what is neither."""

from __future__ import annotations

import json

import pytest

from edgeweave.compiler.cli.simulated_plan import COSTS, PLAN


@pytest.fixture
def dump(edgeweave, model, tmp_path):
    folder = tmp_path / "dump"
    said = edgeweave("plan", model, "--board", "imx93", "--budget", "1s", "--dump", folder)
    assert said.status == 0, said.err
    return folder


def test_a_bundle_is_simulated_from_what_its_stages_take(edgeweave, bundle):
    said = edgeweave("simulate", bundle, "--frames", "200")
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith("small.onnx on host, from ")
    assert lines[1].startswith("simulated; costs of regions: ")
    assert lines[2] == "memory: a bundle states no traffic, so engines do not slow each other down"
    assert lines[3].startswith("200 frames, each as soon as there is room; at most ")
    assert "over the deadline of 5.00 s: 0 of 200 frames" in said.out
    assert lines[-1].startswith("critical: engine cpu0, stage s0-cpu0-")


def test_the_json_holds_all_that_the_text_says_and_keeps_the_seed(edgeweave, bundle):
    arguments = ("simulate", bundle, "--fps", "50", "--jitter", "4ms", "--spread", "20%", "--json")
    data = json.loads(edgeweave(*arguments, "--seed", "7").out)
    assert data["word"] == "simulated"
    assert data["arrival"] == {
        "period_s": 0.02,
        "jitter_s": 0.004,
        "spread": 0.2,
        "queue_depth": 2,
        "drop": False,
        "deadline_s": 5.0,
        "seed": 7,
    }
    assert data["delivered"] == data["frames"] == 1000
    assert data["limit"] == "source"
    assert data["interval_s"] == pytest.approx(0.02, rel=0.01)
    assert data == json.loads(edgeweave(*arguments, "--seed", "7").out)
    assert data["latency"] != json.loads(edgeweave(*arguments, "--seed", "8").out)["latency"]


def test_a_dump_brings_the_memory_that_its_engines_share(edgeweave, dump):
    data = json.loads(edgeweave("simulate", dump, "--json").out)
    plan = json.loads((dump / PLAN).read_text())
    assert data["memory_model"].startswith("shared fairly above its bandwidth of 3.75 GB/s")
    assert data["memory"] > 0
    assert data["costs"] == {"predicted (roofline)": 2}
    assert data["latency"]["p50_s"] >= plan["latency_s"] * (1 - 1e-9)
    assert data["interval_s"] == pytest.approx(plan["interval_s"])
    assert data["limit"] == data["critical"]["engine"] == "a55"


def test_a_stated_law_of_contention_is_used_and_told(edgeweave, dump):
    costs = json.loads((dump / COSTS).read_text())
    costs["contention"] = {"knee_bytes_per_s": 2e9, "slope": 0.5}
    (dump / COSTS).write_text(json.dumps(costs))
    said = edgeweave("simulate", dump)
    assert "memory: slows engines down above 2 GB/s, slope 0.5\n" in said.out
    for key in ("contention", "dram_bytes_per_s"):
        del costs[key]
    for region in costs["regions"]:
        region.pop("dram_bytes", None)
    (dump / COSTS).write_text(json.dumps(costs))
    assert "memory: no traffic is stated" in edgeweave("simulate", dump).out


def test_frames_too_fast_for_the_plan_wait_or_are_dropped(edgeweave, dump):
    latency_s = json.loads((dump / PLAN).read_text())["latency_s"]
    fast = ("simulate", dump, "--period", f"{latency_s * 1e6 / 4:.6f}us", "--deadline", "1us")
    waiting = edgeweave(*fast)
    assert "over the deadline of 1.00 us: 1000 of 1000 frames" in waiting.out
    assert "dropped: 0, waited for room: 99" in waiting.out
    assert "engine a55 sets the interval" in waiting.out
    assert "dropped: 7" in edgeweave(*fast, "--drop").out
    alone = edgeweave("simulate", dump, "--depth", "1").out
    assert "at most 1 in flight" in alone


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--period", "1ms", "--fps", "3"], "--period and --fps say the same; give one of them"),
        (["--jitter", "1ms"], "--jitter needs frames that arrive by themselves; give --period"),
        (["--drop"], "--drop needs frames that arrive by themselves; give --period"),
        (["--period", "30"], "'30' is not a duration above 0 with its unit"),
        (["--spread", "much"], "'much' is not a share; write 5% or 0.05"),
        (["--spread", "-5%"], "'-5%' is not a share"),
        (["--frames", "1"], "1 is not in the range"),
        (["--depth", "0"], "0 is not in the range"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(edgeweave, dump, options, told):
    said = edgeweave("simulate", dump, *options)
    assert (said.status, said.out) == (2, "")
    assert told in said.err


def test_a_folder_that_is_neither_bundle_nor_dump_is_wrong_usage(edgeweave, tmp_path):
    said = edgeweave("simulate", tmp_path)
    assert said.status == 2
    assert f"holds neither manifest.json nor {PLAN}; give a bundle, or a folder" in said.err
    assert edgeweave("simulate", tmp_path / "none").status == 2


def test_a_plan_alone_is_wrong_usage(edgeweave, dump):
    said = edgeweave("simulate", dump / PLAN)
    assert said.status == 2
    assert "does not say which stage reads from which; give a bundle" in said.err


def test_a_damaged_bundle_is_told(edgeweave, copied):
    (copied / "manifest.json").write_text("{}")
    said = edgeweave("simulate", copied)
    assert (said.status, said.out) == (5, "")
    assert "manifest.json was changed after packing" in said.err


@pytest.mark.parametrize(
    ("name", "content", "status", "told"),
    [
        (PLAN, "{", 2, "is no JSON"),
        (PLAN, "[]", 2, "holds no plan"),
        (COSTS, None, 2, f"holds no {COSTS}"),
        (COSTS, "{}", 2, COSTS),
    ],
)
def test_a_damaged_dump_is_told(edgeweave, dump, name, content, status, told):
    (dump / name).unlink() if content is None else (dump / name).write_text(content)
    said = edgeweave("simulate", dump)
    assert (said.status, said.out) == (status, "")
    assert told in said.err


def test_a_plan_beside_the_costs_of_another_model_is_told(edgeweave, dump):
    costs = json.loads((dump / COSTS).read_text())
    costs["regions"], costs["values"] = costs["regions"][:1], []
    (dump / COSTS).write_text(json.dumps(costs))
    said = edgeweave("simulate", dump)
    assert (said.status, said.out) == (4, "")
    assert "places 2 regions and the costs are of 1. Give a plan with the costs" in said.err
