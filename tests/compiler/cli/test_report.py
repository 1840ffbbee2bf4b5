"""``edgeweave report`` on bundles and plans, and what is neither."""

from __future__ import annotations

import json

import pytest


def test_a_bundle_is_explained_region_by_region(edgeweave, bundle):
    said = edgeweave("report", bundle)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("small.onnx on host: 2 regions\n")
    assert "numbers of host: " in said.out
    for part in ("stages, all times predicted", "built\n", "with the stages as built", "  r000 "):
        assert part in said.out
    assert said.out.splitlines()[-1].startswith("fallback: none of 2 regions")


def test_the_json_of_a_plan_is_explained(edgeweave, model, tmp_path):
    path = tmp_path / "plan.json"
    planned = edgeweave("plan", model, "--board", "imx93", "--budget", "1us", "--json")
    path.write_text(planned.out)
    said = edgeweave("report", path)
    assert said.status == 0
    assert "numbers of imx93: 16, of which 8 UNSOURCED" in said.out
    assert "what would have to change" in said.out
    assert "not npu/npu_ethos_u: refused: " in said.out
    again = json.loads(edgeweave("report", path, "--json").out)
    assert again == json.loads(planned.out)


def test_a_report_goes_to_a_file(edgeweave, bundle, tmp_path):
    path = tmp_path / "report.txt"
    said = edgeweave("report", bundle, "-o", path)
    assert (said.status, said.out, said.err) == (0, "", f"wrote {path}\n")
    assert path.read_text() == edgeweave("report", bundle).out


def test_a_report_that_cannot_be_written_is_told(edgeweave, bundle, tmp_path):
    said = edgeweave("report", bundle, "-o", tmp_path / "none" / "report.txt")
    assert (said.status, said.out) == (6, "")
    assert "report.txt: cannot be written (No such file or directory). Name another" in said.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1, 2]", "holds no plan"),
        (b'{"board": "host"}', "holds no plan: the key 'request' is missing"),
    ],
)
def test_a_file_that_is_no_plan_is_wrong_usage(edgeweave, tmp_path, content, told):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    said = edgeweave("report", path)
    assert (said.status, said.out) == (2, "")
    assert told in said.err
    assert "edgeweave plan --json" in said.err


def test_a_damaged_bundle_is_told(edgeweave, copied):
    (copied / "plan.json").write_text("{}")
    said = edgeweave("report", copied)
    assert (said.status, said.out) == (5, "")
    assert "plan.json" in said.err


def test_a_board_of_a_file_is_said_not_to_be_at_hand(edgeweave, model, tmp_path):
    planned = json.loads(edgeweave("plan", model, "--board", "imx93", "--json").out)
    del planned["origins"]
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(planned | {"board": "mine"}))
    assert "numbers of mine: not known here" in edgeweave("report", path).out
