import json
from dataclasses import replace

import pytest

from edgeweave.compiler.check_region import CheckResult, Verdict
from edgeweave.compiler.checks import Checks
from edgeweave.compiler.code_version import code_version
from edgeweave.compiler.regions import find_regions
from edgeweave.targets.backend import Slot
from edgeweave.targets.board_file import load_board
from edgeweave.targets.host import detect_host

GOOD = """g (float[2,3] x) => (float[2,3] y) <float[3,3] w = {1,2,3,4,5,6,7,8,9}> {
    p = MatMul(x, w)
    q = MatMul(p, w)
    y = Softmax(q)
}"""
WRONG = "g (float[4] x) => (bool[4] y) { y = IsInf <detect_negative = 0> (x) }"


@pytest.fixture(scope="module")
def host(cache_folder):
    return detect_host(cache_folder)


@pytest.fixture(scope="module")
def good(canonical):
    return find_regions(canonical(GOOD))


@pytest.fixture(scope="module")
def checked(host, good, canonical, tmp_path_factory):
    """A folder with the verdicts on both models, and what ran there."""
    folder = tmp_path_factory.mktemp("checks")
    checks = Checks(host, folder)
    seen = []
    checks.run(checks.missing(good, timed=True), lambda *step: seen.append(step))
    checks.run(checks.missing(find_regions(canonical(WRONG)), timed=False))
    return folder, checks, seen


def test_equal_regions_and_alike_engines_are_checked_once(host, good):
    tasks = Checks(host, None).missing(good, timed=False)
    kinds = {(e.llvm_target["mcpu"], len(e.cores)) for e in host.engines}
    assert len(good.graph.regions) == 3
    assert len(tasks) == 2 * len(kinds)
    assert all(task.backends == ("cpu",) for task in tasks)


def test_onnx_runtime_is_asked_for_times_only(host, good):
    tasks = Checks(host, None).missing(good, timed=True)
    assert all(task.backends == ("cpu", "onnxruntime") for task in tasks)


def test_verdicts_and_times_are_known_after_a_run(checked, host, good):
    _, checks, seen = checked
    assert checks.missing(good, timed=True) == []
    assert [step[0] for step in seen] == list(range(len(seen)))
    region = good.graph.regions[0]
    assert checks.is_checked(region, "cpu")
    assert checks.refuse(region, host.engines[0], "cpu") is None
    measured = {(key.digest, key.backend) for key in checks.measured}
    assert {(region.digest, "cpu"), (region.digest, "onnxruntime")} <= measured
    assert all(seconds > 0 for seconds in checks.measured.values())


def test_verdicts_and_times_are_found_again_by_a_later_run(checked, host, good, canonical):
    folder, before, _ = checked
    after = Checks(host, folder)
    assert after.missing(good, timed=True) == []
    assert after.measured == before.measured
    (wrong,) = find_regions(canonical(WRONG)).graph.regions
    refusal = after.refuse(wrong, host.engines[0], "cpu")
    assert refusal.rule == "checked.different"
    assert refusal.reason.startswith("its code differs from ONNX Runtime: max abs error")
    assert after.refuse(wrong, host.engines[0], "onnxruntime") is None


def test_a_region_without_a_verdict_is_not_refused(host, good):
    checks = Checks(host, None)
    assert checks.refuse(good.graph.regions[0], host.engines[0], "cpu") is None
    assert not checks.is_checked(good.graph.regions[0], "cpu")


def test_a_static_rule_speaks_before_any_check(host, canonical):
    regions = find_regions(canonical("g (float[4] x) => (int64[1,N] y) { y = NonZero(x) }"))
    checks = Checks(host, None)
    assert checks.missing(regions, timed=False) == []
    refusal = checks.refuse(regions.graph.regions[0], host.engines[0], "cpu")
    assert refusal.rule == "cpu.operators"


def test_verdicts_of_another_version_do_not_count(checked, host, good, tmp_path):
    folder, _, _ = checked
    old = [json.loads(line) for line in (folder / "checks.jsonl").read_text().splitlines()]
    lines = [json.dumps(record | {"versions": "older"}) for record in old]
    (tmp_path / "checks.jsonl").write_text("\n".join([*lines, ""]))
    checks = Checks(host, tmp_path)
    assert not checks.is_checked(good.graph.regions[0], "cpu")
    assert old[0]["versions"] == code_version(old[0]["backend"])


def test_damaged_lines_are_ignored_and_counted(checked, host, good, tmp_path):
    folder, _, _ = checked
    kept = (folder / "checks.jsonl").read_text()
    (tmp_path / "checks.jsonl").write_text('{"digest": 1}\n' + kept + '{"dig')
    checks = Checks(host, tmp_path)
    assert checks.is_checked(good.graph.regions[0], "cpu")
    assert checks.notes == [f"2 damaged lines of {tmp_path} were ignored"]


def test_a_cache_that_cannot_be_written_is_a_warning_and_the_verdict_stays(
    host, canonical, tmp_path
):
    folder = tmp_path / "gone"
    folder.mkdir()
    checks = Checks(host, folder)
    folder.rmdir()
    folder.write_text("no folder")
    regions = find_regions(canonical("g (float[4] x) => (float[4] y) { y = Sub(x, x) }"))
    with pytest.warns(RuntimeWarning, match="results are not kept"):
        checks.run(checks.missing(regions, timed=False))
    assert checks.is_checked(regions.graph.regions[0], "cpu")


def test_a_verdict_holds_for_engines_of_other_boards(checked, host, canonical):
    _, checks, _ = checked
    (wrong,) = find_regions(canonical(WRONG)).graph.regions
    elsewhere = replace(host.engines[0], name="big", llvm_target={"mtriple": "aarch64-linux-gnu"})
    assert checks.refuse(wrong, elsewhere, "cpu").rule == "checked.different"


QUANTISED = """g (int8[1,8,8,8] x) => (int8[1,8,8,8] z)
<float s = {0.05}, float t = {0.1}, int8 o = {0}> {
    a = DequantizeLinear(x, s, o)
    b = Relu(a)
    y = QuantizeLinear(b, t, o)
    c = DequantizeLinear(y, t, o)
    d = Relu(c)
    z = QuantizeLinear(d, t, o)
}"""


@pytest.fixture(scope="module")
def quantised(canonical):
    return find_regions(canonical(QUANTISED))


def test_a_vendors_compiler_is_asked_once_and_its_figure_is_kept(host, quantised, tmp_path):
    board = load_board("imx93")
    npu = board.engine("npu")
    checks = Checks(host, tmp_path, board)
    tasks = checks.vendor_tasks(quantised)
    assert [task.backends for task in tasks] == [("npu_ethos_u",)] * 2
    checks.run(tasks)
    region = quantised.graph.regions[0]
    assert checks.vendor_tasks(quantised) == []
    for known in (checks, Checks(host, tmp_path, board)):
        assert known.refuse(region, npu, "npu_ethos_u") is None
        assert known.estimate(region, npu, "npu_ethos_u") > 0
        assert known.is_checked(region, "npu_ethos_u")
    other = replace(npu, vendor={**npu.vendor, "memory_mode": "Dedicated_Sram_512KB"})
    assert checks.estimate(region, other, "npu_ethos_u") is None


def test_a_fault_that_passes_is_not_remembered(host, quantised, tmp_path):
    board = load_board("imx93")
    checks = Checks(host, tmp_path, board)
    task = checks.vendor_tasks(quantised)[0]

    class Worker:
        def check(self, _task):
            late = CheckResult("npu_ethos_u", Verdict.UNBUILDABLE, "too late", None, None, True)
            return [late]

    checks.run([task], worker=Worker())
    npu = board.engine("npu")
    assert "too late" in checks.refuse(task.region, npu, "npu_ethos_u").reason
    assert Checks(host, tmp_path, board).refuse(task.region, npu, "npu_ethos_u") is None


def test_of_another_board_only_what_is_placed_is_checked(host, quantised, tmp_path):
    checks = Checks(host, tmp_path, load_board("imx93"))
    cpu, npu = Slot("a55", "cpu"), Slot("npu", "npu_ethos_u")
    assert checks.placed_tasks(quantised, [npu, npu]) == []
    (task,) = checks.placed_tasks(quantised, [npu, cpu])
    assert task.region.digest == quantised.graph.regions[1].digest
