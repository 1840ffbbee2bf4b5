"""``edgeweave plan --costs``: a cost table is placed without model, board, TVM or onnx."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeweave.partition.files.plan_json import plan_from_json
from edgeweave.partition.files.table_json import read_table
from edgeweave.targets.backend import Refusal

PAGE = Path(__file__).parents[3] / "docs" / "cost-table.md"
HEAVY = """
import sys
from edgeweave.compiler.cli import main
status = main(sys.argv[1:])
found = {"tvm", "onnx", "onnxruntime", "onnx_ir"} & set(sys.modules)
sys.exit(f"imported {found}" if found else status)
"""


@pytest.fixture
def example():
    """The worked example of the page, as data."""
    (text,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    return json.loads(text)


@pytest.fixture
def detector(example, tmp_path):
    """The worked example in a file of the name that the page gives it."""
    path = tmp_path / "detector.json"
    path.write_text(json.dumps(example))
    return path


@pytest.fixture
def planned(edgeweave, detector):
    def plan(*options):
        said = edgeweave("plan", "--costs", detector, "--json", *options)
        assert said.status == 0, said.err
        return json.loads(said.out)

    return plan


def slots_of(shown):
    return {p["region"]: p["slot"]["engine"] for p in shown["placements"]}


def test_the_worked_example_of_the_page_is_planned(planned):
    shown = planned("--objective", "interval")
    plan = plan_from_json(shown)
    assert plan.board == "detector.json"
    assert slots_of(shown) == {"stem": "npu", "body": "npu", "head": "cpu", "softmax": "cpu"}
    assert plan.certificate.optimal
    assert plan.interval_limit == "cpu"
    transfer = 1e-4 + 200704e-9
    assert plan.interval_s == pytest.approx(0.004 + 0.0005 + transfer)
    assert plan.latency_s == pytest.approx(plan.interval_s + 0.0002 + 0.003)
    assert plan.energy_j == pytest.approx(1.5 * plan.interval_s + 0.8 * 0.0032)


def test_the_commands_of_the_page_are_valid(edgeweave, detector):
    lines = re.findall(r"^\$ edgeweave plan --costs detector\.json (.*)$", PAGE.read_text(), re.M)
    assert len(lines) == 3
    for line in lines:
        options = [option.strip("'") for option in line.split()]
        said = edgeweave("plan", "--costs", detector, *options)
        assert said.status == 0, said.err


def test_the_errors_of_the_page_are_what_is_said(edgeweave, detector, example, tmp_path):
    lines = re.findall(r"^error: detector\.json: (.*)$", PAGE.read_text("utf-8"), re.M)
    wrong = [json.loads(json.dumps(example)) for _ in lines]
    wrong[0]["regions"][2]["costs"]["npu"] = -3.0
    wrong[1]["values"][1]["consumers"] = ["haed"]
    wrong[2]["values"].append({"producer": "body", "consumers": ["stem"]})
    for line, data in zip(lines, wrong, strict=True):
        detector.write_text(json.dumps(data))
        said = edgeweave("plan", "--costs", detector, "-q")
        assert (said.status, said.out, said.err) == (2, "", f"error: {detector}: {line}\n")


def test_every_field_is_on_the_page():
    schema = json.loads(
        (PAGE.parents[1] / "partition" / "files" / "cost_table.schema.json").read_text()
    )
    text = PAGE.read_text("utf-8")

    def names(part):
        if isinstance(part, dict):
            yield from part.get("properties", {})
            for value in part.values():
                yield from names(value)
        elif isinstance(part, list):
            for value in part:
                yield from names(value)

    assert not {name for name in names(schema) if not re.search(f'[`"]{name}[`"]', text)}


def test_neither_tvm_nor_onnx_is_imported(detector):
    command = [sys.executable, "-c", HEAVY, "plan", "--costs", str(detector), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["board"] == "detector.json"


def test_text_names_the_table_and_says_predicted(edgeweave, detector):
    said = edgeweave("plan", "--costs", detector, "--budget", "12ms")
    lines = said.out.splitlines()
    assert lines[0] == "detector.json: 4 regions, 2 slots"
    assert "within the budget of 12.0 ms" in said.out
    assert "predicted energy:" in said.out
    assert "npu/given  npu.operators" in said.out
    assert "fallback" not in said.out
    assert said.err.splitlines() == [
        f"reading the cost table: {detector}",
        "placing: 4 regions on 2 slots",
    ]


def test_every_region_is_listed_with_why_it_is_nowhere_else(edgeweave, detector):
    said = edgeweave("plan", "--costs", detector, "--regions")
    assert "not npu/given: refused: Softmax is not supported [npu.operators]" in said.out


def test_the_plan_of_a_table_is_reported(edgeweave, planned, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(planned()))
    said = edgeweave("report", path)
    assert said.status == 0
    lines = said.out.splitlines()
    assert lines[:2] == ["detector.json: 4 regions, 2 slots", ""]
    assert "what other methods make of the same costs" in said.out


def test_onnx_runtime_as_a_slot_is_counted_as_a_fallback(edgeweave, detector, example):
    example["slots"][0]["backend"] = "onnxruntime"
    detector.write_text(json.dumps(example))
    said = edgeweave("plan", "--costs", detector)
    assert said.out.splitlines()[-1] == "fallback: none of 4 regions"


@pytest.mark.parametrize("objective", ["latency", "interval", "energy"])
def test_each_objective_is_minimised_and_compared(edgeweave, planned, detector, objective):
    rows = {row["method"]: row for row in planned("--objective", objective)["comparison"]}
    assert list(rows) == [
        "best single engine", "greedy by priority", "HEFT", "chain DP", "this plan", "lower bound",
    ]  # fmt: skip
    key = "energy_j" if objective == "energy" else f"{objective}_s"
    ours = rows["this plan"][key]
    for name, row in rows.items():
        if row[key] is not None:
            assert row["ratio"] == pytest.approx(row[key] / ours)
            assert row[key] >= ours * (1 - 1e-9) or name == "lower bound"
    assert rows["lower bound"]["ratio"] <= 1 + 1e-9
    assert rows["this plan"]["stages"] in (1, 2)
    said = edgeweave("plan", "--costs", detector, "--objective", objective, "--compare")
    header, columns, *lines = said.out.splitlines()
    assert header.endswith(f"predicted; ratio of the {objective}")
    assert columns.split() == ["method", "latency", "interval", "energy", "stages", "ratio"]
    assert [line.strip().split("  ")[0] for line in lines] == list(rows)


def test_the_comparison_says_who_misses_the_request_and_who_finds_no_plan(edgeweave, detector):
    said = edgeweave(
        "plan", "--costs", detector, "--compare", "--objective", "interval", "--budget", "9ms"
    )
    single = next(line for line in said.out.splitlines() if "best single engine" in line)
    assert single.endswith("misses the request")
    said = edgeweave("plan", "--costs", detector, "--compare", "--place", "stem=npu")
    single = next(line for line in said.out.splitlines() if "best single engine" in line)
    assert single.endswith("-  finds no plan")


def test_energy_is_left_out_where_it_is_not_stated(edgeweave, detector, example):
    for slot in example["slots"]:
        del slot["power_w"]
    detector.write_text(json.dumps(example))
    assert "energy" not in edgeweave("plan", "--costs", detector).out
    said = edgeweave("plan", "--costs", detector, "--objective", "energy")
    assert said.status == 4
    assert "states no power" in said.err


def test_regions_are_placed_kept_off_and_kept_together(planned):
    assert slots_of(planned())["stem"] == "npu"
    shown = planned("--place", "s*=cpu")
    assert slots_of(shown)["stem"] == "cpu"
    (refused,) = shown["placements"][0]["alternatives"]
    assert (refused["verdict"], refused["rule"]) == ("refused", "request.place")
    assert refused["reason"] == "the request places it on cpu"
    assert slots_of(planned("--avoid", "body=npu/given"))["body"] == "cpu"
    together = slots_of(planned("--together", "stem,softmax"))
    assert together["stem"] == together["softmax"] == "cpu"
    shown = planned("--max-stages-per-engine", "1", "--avoid", "body=npu")
    engines = [stage["slot"]["engine"] for stage in shown["stages"]]
    assert len(engines) == len(set(engines))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--place", "stam=npu"], "place stam=npu: there is no region 'stam'; did you mean stem?"),
        (["--avoid", "stem=gpu"], "avoid stem=gpu: there is no engine or slot 'gpu'"),
        (["--together", "stem,x"], "together stem,x: there is no region 'x'"),
        (["--place", "stem"], "'stem' is not a region with an engine; write r012*=npu0"),
        (["--avoid", "=npu"], "'=npu' is not a region with an engine"),
        (["--together", "stem,"], "'stem,' is not a list of regions"),
        (["--max-stages-per-engine", "0"], "0 is not in the range x>=1"),
        (["--check"], "--check does not go with --costs"),
        (["--board", "imx93"], "--board does not go with --costs"),
        (["--shape", "x=1"], "--shape does not go with --costs"),
        (["--skip-rewrite", "x"], "--skip-rewrite does not go with --costs"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(edgeweave, detector, options, told):
    said = edgeweave("plan", "--costs", detector, *options)
    assert (said.status, said.out) == (2, "")
    assert told in said.err


def test_a_model_and_a_table_or_neither_is_wrong_usage(edgeweave, model, detector):
    said = edgeweave("plan", model, "--costs", detector)
    assert (said.status, said.out) == (2, "")
    assert "MODEL does not go with --costs" in said.err
    said = edgeweave("plan")
    assert (said.status, said.out) == (2, "")
    assert "Missing argument 'MODEL'. Give a model, or --costs FILE" in said.err


def test_a_budget_that_is_missed_has_status_4_and_what_would_have_to_change(edgeweave, detector):
    said = edgeweave("plan", "--costs", detector, "--budget", "1ms")
    assert said.status == 4
    assert "what would have to change" in said.out
    error = said.err.splitlines()[-1]
    assert error.startswith("error: detector.json: no plan meets the request. The best latency")


def test_demands_that_no_slot_can_meet_have_status_4(edgeweave, detector):
    said = edgeweave("plan", "--costs", detector, "--place", "softmax=npu", "-q")
    assert (said.status, said.out) == (4, "")
    assert "the request places it on npu [request.place]" in said.err
    assert "Softmax is not supported [npu.operators]" in said.err


def test_costs_of_nothing_are_planned(edgeweave, tmp_path):
    path = tmp_path / "free.json"
    regions = [{"id": "a", "costs": {"cpu": 0}}]
    path.write_text(json.dumps({"schema_version": 1, "slots": ["cpu"], "regions": regions}))
    for options in ([], ["--json"], ["--objective", "interval", "--compare"]):
        assert edgeweave("plan", "--costs", path, *options).status == 0


BAD = [
    (b"", "is empty"),
    (b"\x7fELF\x02\xff\xfe", "is no text, so no JSON"),
    (b"{,}", "line 1, column 2: is no JSON"),
    (b"[" * 100_000, "is nested too deeply"),
    (b"[]", "the document: a list is not an object"),
    (b"{}", "schema_version: is missing"),
    (b'{"schema_version": 9}', "schema_version: this edgeweave reads version 1 only"),
]


@pytest.mark.parametrize(("content", "told"), BAD, ids=[told for _, told in BAD])
def test_a_file_that_is_no_table_has_status_2_and_one_line(edgeweave, tmp_path, content, told):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    said = edgeweave("plan", "--costs", path, "-q")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"error: {path}: {told}")
    assert len(said.err.splitlines()) == 1


def test_a_table_that_is_not_there_or_a_folder_has_status_2(edgeweave, tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        said = edgeweave("plan", "--costs", path, "-q")
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith(f"error: {path}: cannot be read")


@pytest.mark.parametrize(
    ("old", "new", "status", "told"),
    [
        ('"npu": 0.001', '"npu": -0.001', 2, "regions[0].costs.npu: -0.001 is negative"),
        ('"npu": 0.001', '"npu": NaN', 2, "regions[0].costs.npu: NaN is not a finite number"),
        ('"npu": 0.001', '"npu": Infinity', 2, "regions[0].costs.npu: Infinity is not a finite"),
        ('"npu": 0.001', '"npu": 1e999', 2, "regions[0].costs.npu: Infinity is not a finite"),
        ('"npu": 0.001', '"npu": true', 2, "regions[0].costs.npu: true is not a number"),
        ('"npu": 0.001', '"npu": 1, "npu": 2', 2, "regions[0].costs.npu: is written twice"),
        ('"npu": 0.001', '"gpu": 0.001', 2, "regions[0].costs.gpu: there is no slot 'gpu'"),
        ('"id": "body"', '"id": "stem"', 2, "regions[1].id: 'stem' is also the id of regions[0]"),
        ('"id": "body"', '"name": "body"', 2, "regions[1].name: is not a known field"),
        ('["head"]', '["body"]', 2, "values[1].consumers[0]: 'body' would read what it makes"),
        ('["softmax"]', '["stem"]', 2, "values[0]: is part of the cycle stem -> body -> head"),
        ("2000000.0", "-1", 2, "slots[1].capacity_bytes: -1 is negative"),
        ('"to": "npu"', '"to": "dsp"', 2, "links[0].to: there is no slot 'dsp'"),
        ('"cpu": 0.006, "npu": 0.001', "", 4, "regions[0].costs: no slot takes this region"),
    ],
)  # fmt: skip
def test_a_bad_table_is_told_by_the_path_to_the_field(edgeweave, detector, old, new, status, told):
    text = detector.read_text()
    assert old in text
    detector.write_text(text.replace(old, new, 1))
    said = edgeweave("plan", "--costs", detector, "-q")
    assert (said.status, said.out) == (status, "")
    assert said.err.startswith(f"error: {detector}: {told}")
    assert len(said.err.splitlines()) == 1


def test_a_dumped_table_gives_the_plan_it_was_dumped_from(edgeweave, model, tmp_path):
    options = ["--objective", "interval", "--max-stages", "3", "--json"]
    first = edgeweave("plan", model, "--board", "rk3588", *options, "--dump", tmp_path / "dump")
    again = edgeweave("plan", "--costs", tmp_path / "dump" / "03-costs.json", *options)
    assert (first.status, again.status) == (0, 0)
    plans = [json.loads(said.out) for said in (first, again)]
    for plan in plans:
        del plan["certificate"]["wall_s"]
    for key in ("stages", "placements", "latency_s", "interval_s", "baselines", "certificate",
                "comparison", "energy_j"):  # fmt: skip
        assert plans[0][key] == plans[1][key]


def test_demands_on_a_model_hold_and_are_part_of_what_is_dumped(edgeweave, model, tmp_path):
    free = json.loads(edgeweave("plan", model, "--board", "rk3588", "--json").out)
    there = free["placements"][0]["slot"]["engine"]
    said = edgeweave(
        "plan", model, "--board", "rk3588", "--json", "--avoid", f"r000*={there}",
        "--max-stages-per-engine", "2", "--dump", tmp_path,
    )  # fmt: skip
    assert said.status == 0
    assert json.loads(said.out)["placements"][0]["slot"]["engine"] != there
    table = read_table(tmp_path / "03-costs.json")
    refused = {slot.engine for slot, cost in zip(table.slots, table.costs[0], strict=True)
               if isinstance(cost, Refusal) and cost.rule == "request.avoid"}  # fmt: skip
    assert refused == {there}
    assert set(table.engine_stages) == {2}


@pytest.mark.parametrize("verb", ["plan", "compile"])
def test_a_demand_on_what_the_model_lacks_is_wrong_usage(edgeweave, model, tmp_path, verb):
    output = ["-o", tmp_path / "out.bundle"] if verb == "compile" else []
    said = edgeweave(verb, model, "--board", "rk3588", *output, "--place", "r9*=npu0")
    assert (said.status, said.out) == (2, "")
    assert "place r9*=npu0: there is no region 'r9*'" in said.err
    assert not (tmp_path / "out.bundle").exists()


def test_a_table_is_dumped_with_its_plan(edgeweave, detector, tmp_path):
    folder = tmp_path / "dump"
    said = edgeweave("plan", "--costs", detector, "--dump", folder, "--place", "stem=cpu")
    assert said.status == 0
    assert {path.name for path in folder.iterdir()} == {"03-costs.json", "04-plan.json"}
    assert read_table(folder / "03-costs.json").costs[0][1].rule == "request.place"
