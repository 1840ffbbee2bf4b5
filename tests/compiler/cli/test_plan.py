"""``edgeweave plan``: what it prints of a placement."""

from __future__ import annotations

import json

import pytest

from edgeweave.partition.files.plan_json import plan_from_json

UNKNOWN_TO_TVM = "g (float[2,4] x) => (float[2,4] y) { h = LpNormalization(x) y = Softmax(h) }"


def planned(edgeweave, model, *options):
    said = edgeweave("plan", model, "--json", *options)
    assert said.status == 0, said.err
    return json.loads(said.out)


def test_json_is_the_plan_with_its_model(edgeweave, model):
    shown = planned(edgeweave, model, "--board", "rk3588")
    plan = plan_from_json(shown)
    assert (plan.board, shown["model"]) == ("rk3588", "small.onnx")
    assert shown["origins"]["numbers"] > shown["origins"]["unsourced"] > 0
    for placement in plan.placements:
        assert len({other.slot for other in placement.alternatives} | {placement.slot}) == 8
        assert all(other.reason for other in placement.alternatives)


@pytest.mark.parametrize(
    ("options", "objective", "budget", "interval"),
    [
        ([], "latency", None, None),
        (["--budget", "5s"], "interval", 5.0, None),
        (["--budget", "5s", "--objective", "latency"], "latency", 5.0, None),
        (["--fps", "4"], "latency", None, 0.25),
    ],
)
def test_the_request_is_what_the_options_say(
    edgeweave, model, options, objective, budget, interval
):
    options = [*options, "--board", "imx93", "--max-stages", "2", "--time-limit", "3s"]
    request = planned(edgeweave, model, *options)["request"]
    assert request == {
        "objective": objective, "budget_s": budget, "max_interval_s": interval, "max_stages": 2,
        "time_limit_s": 3.0,
    }  # fmt: skip


def test_text_says_predicted_and_ends_with_the_fallbacks(edgeweave, model):
    said = edgeweave("plan", model, "--board", "imx93", "--budget", "5s")
    assert said.status == 0
    assert "predicted latency:" in said.out
    assert "within the budget of 5.00 s" in said.out
    assert "lower bound:" in said.out
    assert "best single engine" in said.out
    assert "npu/npu_ethos_u  engine.precision" in said.out
    assert "note: npu can take regions in int8: --quantize int8" in said.err
    assert "not npu/npu_ethos_u" not in said.out
    assert "measured" not in said.out
    assert said.out.splitlines()[-1].startswith("fallback: none of ")


def test_every_region_is_listed_with_why_it_is_nowhere_else(edgeweave, model):
    said = edgeweave("plan", model, "--board", "imx93", "--regions")
    lines = said.out.splitlines()
    regions = [i for i, line in enumerate(lines) if line.startswith("  r0")]
    assert len(regions) >= 2
    for i in regions:
        assert " on a55/" in lines[i]
        assert "not npu/npu_ethos_u: refused: " in "".join(lines[i + 1 : i + 3])


def test_a_region_that_tvm_refuses_is_counted_in_the_last_line(edgeweave, save):
    path = save(UNKNOWN_TO_TVM)
    said = edgeweave("plan", path, "--board", "imx93")
    last = said.out.splitlines()[-1]
    assert said.status == 0
    assert last.startswith("fallback: 1 of 2 regions run on ONNX Runtime")
    assert "LpNormalization [cpu.operators]" in last
    shown = planned(edgeweave, path, "--board", "imx93")
    (entry,) = shown["fallbacks"]["regions"]
    assert (entry["rule"], entry["slot"]["backend"]) == ("cpu.operators", "onnxruntime")


def test_rewrites_are_counted_and_can_be_left_out(edgeweave, save):
    path = save("g (float[2] x) => (float[2] y) { c = Identity(x) y = Relu(c) }")
    counted = planned(edgeweave, path, "--board", "imx93")["rewrites"]
    assert [(entry["name"], entry["count"]) for entry in counted] == [("identity", 1)]
    assert "rewrites: identity 1" in edgeweave("plan", path, "--board", "imx93").out
    left = planned(edgeweave, path, "--board", "imx93", "--skip-rewrite", "identity")
    assert left["rewrites"] == []
    assert len(left["placements"][0]["region"]) > 0


def test_boundaries_are_dumped(edgeweave, model, tmp_path):
    planned(edgeweave, model, "--board", "imx93", "--dump", tmp_path / "dump")
    names = {path.name for path in (tmp_path / "dump").iterdir()}
    assert {"01-import.onnx", "02-regions.json", "03-costs.json", "04-plan.json"} <= names


def test_a_dump_that_cannot_be_written_is_told(edgeweave, model, tmp_path):
    (tmp_path / "file").touch()
    said = edgeweave("plan", model, "--board", "imx93", "--dump", tmp_path / "file")
    assert (said.status, said.out) == (6, "")
    assert "Name another folder with --dump" in said.err


def test_unchecked_regions_are_counted_until_they_were_checked(
    edgeweave, model, tmp_path, monkeypatch
):
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path))
    shown = planned(edgeweave, model, "--board", "imx93")
    on_tvm = sum(p["slot"]["backend"] == "cpu" for p in shown["placements"])
    assert shown["unchecked"] == on_tvm > 0
    assert f"unchecked: {on_tvm} of" in edgeweave("plan", model, "--board", "imx93").out
    checked = planned(edgeweave, model, "--board", "imx93", "--check")
    assert checked["unchecked"] == 0


def test_a_cache_that_cannot_be_written_is_a_note(edgeweave, model, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path / "file"))
    said = edgeweave("plan", model, "--board", "imx93")
    assert said.status == 0
    assert "note: working without a cache: " in said.err


def test_progress_is_plain_lines_that_quiet_leaves_out(edgeweave, model):
    assert edgeweave("plan", model, "--board", "imx93").err.splitlines() == [
        f"reading the model: {model}",
        "placing: 2 regions on 3 slots",
        "note: npu can take regions in int8: --quantize int8",
    ]
    assert edgeweave("plan", model, "--board", "imx93", "-q").err == ""
