"""``edgeweave plan`` with several models or cost tables: placed together, and what cannot be."""

from __future__ import annotations

import json
import shutil

import pytest

TABLE = {
    "schema_version": 1,
    "slots": [{"engine": "cpu"}, {"engine": "npu"}],
    "regions": [
        {"id": "stem", "costs": {"cpu": 0.006, "npu": 0.001}},
        {"id": "body", "costs": {"cpu": 0.014, "npu": 0.002}},
        {"id": "head", "costs": {"cpu": 0.004, "npu": 0.0012}},
    ],
    "values": [
        {"producer": "stem", "consumers": ["body"], "bytes": 100},
        {"producer": "body", "consumers": ["head"], "bytes": 100},
    ],
    "links": [{"from": "cpu", "to": "npu", "both_ways": True, "fixed_s": 1e-4, "s_per_byte": 0.0}],
}


@pytest.fixture
def tables(tmp_path):
    """Two cost tables, one with its slots in another order."""
    swapped = TABLE | {"slots": TABLE["slots"][::-1]}
    for name, data in (("a", TABLE), ("b", swapped)):
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    return ["--costs", tmp_path / "a.json", "--costs", tmp_path / "b.json", "--time-limit", "1s"]


@pytest.fixture
def models(model, save, tmp_path):
    """Two models that are placed on a board without being built."""
    shutil.copy(model, tmp_path / "a.onnx")
    save("g (float[2,4] x) => (float[2,4] y) { h = LpNormalization(x) y = Softmax(h) }", "b.onnx")
    return [tmp_path / "a.onnx", tmp_path / "b.onnx", "--board", "imx93", "--time-limit", "1s"]


BUDGETS = ("--budget", "a=35ms", "--budget", "b=100ms", "--fps", "a=30", "--fps", "b=10")


def test_two_models_are_placed_together(edgeweave, models):
    said = edgeweave("plan", *models, *BUDGETS, "--json")
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    a, b = shown["models"]
    assert (shown["board"], a["name"], b["name"]) == ("imx93", "a", "b")
    assert (a["budget_s"], a["fps"], a["priority"]) == (0.035, pytest.approx(30), 1)
    assert (b["budget_s"], b["fps"], b["priority"]) == (0.1, pytest.approx(10), 2)
    for own, stream in zip(shown["models"], shown["simulation"]["streams"], strict=True):
        assert own["latency_s"] <= own["response_s"] <= own["budget_s"]
        assert stream["response"]["max_s"] <= own["response_s"] * (1 + 1e-9)
        assert stream["misses"] == 0
        assert all(slot.startswith(("a55/", "npu/")) for slot in own["slots"].values())
    assert shown["simulation"]["word"] == "simulated"
    assert shown["simulation"]["streams"][0]["frames"] == 3000
    assert shown["sources"]["a"]["model"] == "a.onnx"
    assert shown["fallbacks"]["count"] == 1
    assert shown["meets"] is True


def test_text_says_all_of_it_and_ends_with_the_fallbacks(edgeweave, models):
    said = edgeweave("plan", *models, *BUDGETS)
    lines = said.out.splitlines()
    assert (said.status, lines[0]) == (0, "2 models on imx93: a, b")
    for part in (
        "stages, all times predicted",
        "response at most",
        "engines, share of its time, predicted",
        "memory: shared fairly above its bandwidth of 3.75 GB/s",
        "largest response over its budget: ",
        "lower bound: ",
        "each by HEFT",
        "response, simulated; all first frames arrive at once",
        "of 3000",
    ):
        assert part in said.out
    assert lines[-1].startswith("fallback: 1 of 4 regions run on ONNX Runtime")
    assert "measured" not in said.out
    assert said.err.splitlines()[-1] == "placing: 2 models on 3 slots"


def test_tables_are_placed_together_whatever_the_order_of_their_slots(edgeweave, tables):
    said = edgeweave("plan", *tables, *BUDGETS, "--json")
    assert said.status == 0, said.err
    shown = json.loads(said.out)
    assert [own["name"] for own in shown["models"]] == ["a", "b"]
    assert {use["engine"] for use in shown["engines"]} == {"cpu", "npu"}
    assert shown["certificate"]["bound"] <= shown["certificate"]["value"]


def test_models_can_be_named(edgeweave, tables):
    _, first, _, second, *rest = tables
    said = edgeweave(
        "plan", "--costs", f"front={first}", "--costs", f"rear={second}", *rest,
        "--budget", "front=50ms", "--json",
    )  # fmt: skip
    assert said.status == 0, said.err
    front, rear = json.loads(said.out)["models"]
    assert (front["name"], front["budget_s"]) == ("front", 0.05)
    assert (rear["name"], rear["budget_s"]) == ("rear", None)
    assert "at most one frame per budget" in front["assumed"]


def test_a_value_without_a_name_is_for_all_that_have_none(edgeweave, tables):
    options = ("--budget", "100ms", "--budget", "b=40ms", "--fps", "5")
    a, b = json.loads(edgeweave("plan", *tables, *options, "--json").out)["models"]
    assert (a["budget_s"], b["budget_s"], a["priority"], b["priority"]) == (0.1, 0.04, 2, 1)
    assert (a["fps"], b["fps"]) == (5, 5)


def test_what_one_model_is_called_may_be_said(edgeweave, tables):
    first = tables[:2]
    plain = edgeweave("plan", *first, "--budget", "50ms", "--fps", "10", "--json")
    named = edgeweave("plan", *first, "--budget", "a=50ms", "--fps", "a=10", "--json")
    assert plain.status == named.status == 0
    assert json.loads(plain.out)["request"] == json.loads(named.out)["request"]


def test_without_rates_and_budgets_the_load_is_shown_in_seconds(edgeweave, tables):
    said = edgeweave("plan", *tables)
    assert said.status == 0
    assert "engines, seconds for one frame of each model, predicted" in said.out
    assert "nothing is asked of it" in said.out
    assert "largest load of an engine or the memory: " in said.out


def test_a_budget_that_is_missed_is_shown_with_what_would_have_to_change(edgeweave, tables):
    said = edgeweave("plan", *tables, "--budget", "a=1ms", "--fps", "10", "--json")
    shown = json.loads(said.out)
    assert said.status == 4
    assert shown["meets"] is False
    assert shown["certificate"]["infeasible"] is True
    first, *_ = shown["shortfall"]
    assert first.startswith("a: its response of up to ")
    assert said.err.splitlines()[-1] == (
        f"error: a, b on one board: no plan was found that meets all requests. {first}"
    )
    text = edgeweave("plan", *tables, "--budget", "a=1ms", "--fps", "10")
    assert text.status == 4
    assert "what would have to change" in text.out
    assert "missed" in text.out


def test_too_many_frames_are_unbounded_and_missed(edgeweave, tables):
    said = edgeweave("plan", *tables, "--budget", "1s", "--fps", "a=400", "--fps", "b=200")
    assert said.status == 4
    assert "unbounded" in said.out
    data = json.loads(edgeweave("plan", *tables, "--fps", "400", "--json").out)
    assert None in {own["response_s"] for own in data["models"]}


def test_compare_shows_the_other_choices_alone(edgeweave, tables):
    said = edgeweave("plan", *tables, *BUDGETS, "--compare")
    lines = said.out.splitlines()
    assert said.status == 0
    assert lines[0].startswith("other choices of plans, predicted")
    assert lines[-2].split()[:2] == ["this", "plan"]
    assert lines[-1].split()[:2] == ["lower", "bound"]


def test_boundaries_are_dumped_by_model_and_can_be_read_again(edgeweave, models, tmp_path):
    dump = tmp_path / "dump"
    assert edgeweave("plan", *models, *BUDGETS, "--dump", dump).status == 0
    for name in "ab":
        names = {path.name for path in (dump / name).iterdir()}
        assert names == {"01-import.onnx", "02-regions.json", "03-costs.json"}
    costs = [f"--costs={name}={dump / name / '03-costs.json'}" for name in "ab"]
    said = edgeweave("plan", *costs, "--time-limit", "1s", *BUDGETS, "--json")
    assert said.status == 0, said.err
    assert [own["name"] for own in json.loads(said.out)["models"]] == ["a", "b"]


def test_a_shape_is_for_the_model_that_it_names(edgeweave, save, tmp_path):
    save("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }", "a.onnx")
    save("g (float[M,8] z) => (float[M,8] y) { y = Relu(z) }", "b.onnx")
    models = [tmp_path / "a.onnx", tmp_path / "b.onnx", "--board", "imx93", "--time-limit", "1s"]
    shapes = ("--shape", "a:x=2,4", "--shape", "b:z=2,8")
    assert edgeweave("plan", *models, *shapes).status == 0
    assert edgeweave("plan", *models, "--shape", "a:x=2,4").status == 6


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--budget", "c=1s"], "--budget: there is no model 'c'; there is a, b"),
        (["--fps", "c=1"], "--fps: there is no model 'c'; there is a, b"),
        (["--budget", "a=1s", "--budget", "a=2s"], "--budget is given twice for 'a'; give one"),
        (["--fps", "1", "--fps", "2"], "--fps is given twice for all models; give one"),
        (["--budget", "a=soon"], "'soon' is not a duration above 0 with its unit"),
        (["--fps", "a=0"], "'0' is not a number of frames per second"),
        (["--objective", "energy"], "--objective does not go with several models"),
        (["--place", "stem=npu"], "--place does not go with several models"),
        (["--avoid", "stem=npu"], "--avoid does not go with several models"),
        (["--together", "stem,body"], "--together does not go with several models"),
        (["--regions"], "--regions does not go with several models"),
        (["--check"], "--check does not go with --costs"),
        (["--board", "imx93"], "--board does not go with --costs"),
    ],
)
def test_what_does_not_go_with_several_models_is_a_usage_error(edgeweave, tables, options, reason):
    said = edgeweave("plan", *tables, *options)
    assert (said.status, said.out) == (2, "")
    assert reason in said.err


def test_two_models_of_one_name_are_a_usage_error(edgeweave, tables, tmp_path):
    (tmp_path / "other").mkdir()
    same = shutil.copy(tmp_path / "a.json", tmp_path / "other" / "a.json")
    said = edgeweave("plan", *tables, "--costs", same)
    assert said.status == 2
    assert "two models are called 'a'; name each, as first=FILE second=FILE" in said.err


def test_tables_of_two_boards_are_a_usage_error(edgeweave, tables, tmp_path):
    text = (tmp_path / "b.json").read_text().replace('"npu"', '"dsp"')
    (tmp_path / "b.json").write_text(text)
    said = edgeweave("plan", *tables)
    assert (said.status, said.out) == (2, "")
    assert (
        "model b: its slots are not those of a: it lacks npu/given and adds dsp/given" in said.err
    )


def test_a_model_that_is_missing_or_without_a_board_is_a_usage_error(edgeweave, models, tmp_path):
    said = edgeweave("plan", tmp_path / "none.onnx", *models)
    assert said.status == 2
    assert "none.onnx' does not exist" in said.err
    said = edgeweave("plan", *models[:2])
    assert said.status == 2
    assert "Missing option '--board'" in said.err
