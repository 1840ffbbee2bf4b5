from dataclasses import replace

import onnx
import pytest

from edgeweave.compiler.checks import Checks
from edgeweave.compiler.pipeline import Job, plan_model
from edgeweave.compiler.profile import profile_model
from edgeweave.partition.costs import Source
from edgeweave.targets.errors import TargetError
from edgeweave.targets.host import detect_host

MODEL = onnx.parser.parse_model(
    """<ir_version: 10, opset_import: ["": 18]>
    g (float[1,4,16,16] x) => (float[1,4] y)
    <float[4,4,1,1] w = {1,2,3,4, 5,6,7,8, 1,2,3,4, 5,6,7,8}> {
        a = Conv(x, w)
        b = Relu(a)
        c = Conv(b, w)
        d = Relu(c)
        e = MaxPool<kernel_shape = [2,2]>(d)
        f = Softmax(e)
        m = GlobalAveragePool(f)
        y = Flatten(m)
    }"""
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWEAVE_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def profiled(cache):
    steps = []
    return profile_model(Job(MODEL), lambda *step: steps.append(step), repeats=5), steps


def test_every_distinct_region_is_measured_on_every_slot(profiled):
    profile, _ = profiled
    assert [(r.name.split()[1], r.count) for r in profile.regions] == [
        ("Conv+Relu", 2),
        ("MaxPool", 1),
        ("Softmax", 1),
        ("GlobalAveragePool+Flatten", 1),
    ]
    slots = {(e.name, backend) for e in profile.board.engines for backend in e.backends}
    for region in profile.regions:
        assert {(t.slot.engine, t.slot.backend) for t in region.times} == slots
        assert all(t.measurement.seconds > 0 for t in region.times)
        assert all(t.measurement.repeats == 5 for t in region.times)


def test_a_call_that_computes_nothing_is_measured_on_every_slot(profiled):
    profile, _ = profiled
    assert len(profile.calls) == len(profile.regions[0].times)
    assert all(0 < call.measurement.seconds < 0.05 for call in profile.calls)


def test_each_engine_is_fitted_to_its_fastest_backends(profiled):
    profile, _ = profiled
    assert [fit.after for fit in profile.fits] == list(profile.board.engines)
    for fit in profile.fits:
        assert fit.samples == len(profile.regions)
        assert fit.after.compute_efficiency.origin.startswith("calibrated from 4 measured regions")
        assert 0.2 < fit.ratio_after < 5


def test_the_steps_that_are_told_name_every_region(profiled):
    profile, steps = profiled
    named = {what for phase, _, _, what in steps if phase == "measure"}
    assert {region.name for region in profile.regions} <= named
    assert {phase for phase, *_ in steps} == {"import", "measure", "calibrate"}


def test_the_next_plan_uses_the_measured_costs_and_calls(profiled, cache):
    profile, _ = profiled
    planned = plan_model(Job(MODEL))
    assert [p.source for p in planned.plan.placements] == [Source.MEASURED] * 5
    calls = {call.slot: call.measurement.seconds for call in profile.calls}
    assert planned.table.stage_overhead_s == tuple(calls[slot] for slot in planned.table.slots)
    assert planned.checks.missing(planned.regions, timed=True) == []


def test_the_next_plan_uses_the_calibrated_board_for_other_models(profiled, cache):
    profile, _ = profiled
    other = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]>
        g (float[8,8] x) => (float[8,8] y) { y = MatMul(x, x) }"""
    )
    planned = plan_model(Job(other))
    assert planned.board == profile.board
    assert planned.plan.placements[0].source is Source.ROOFLINE


def test_a_profile_measures_again_what_is_known(profiled, cache):
    before = len((cache / "measurements.jsonl").read_text().splitlines())
    profile_model(Job(MODEL), repeats=1)
    readings = (cache / "measurements.jsonl").read_text().splitlines()
    kinds = {(e.llvm_target["mcpu"], len(e.cores)) for e in detect_host(cache).engines}
    assert len(readings) == before + len(kinds) * 2 * (4 + 1)


def test_too_few_regions_leave_the_engine_as_it_is_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path))
    small = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]>
        g (float[8,8] x) => (float[8,8] y) { y = MatMul(x, x) }"""
    )
    profile = profile_model(Job(small), repeats=1)
    assert profile.fits == ()
    assert len(profile.notes) == len(profile.board.engines)
    assert all("it keeps its figures" in note for note in profile.notes)
    assert Checks(profile.board, tmp_path).host == profile.board


def test_another_board_is_refused(cache):
    other = replace(detect_host(cache), name="imx93", is_host=False)
    with pytest.raises(TargetError, match=r"board imx93: .*measured on the device only"):
        profile_model(Job(MODEL, other))


def test_less_than_one_repeat_is_refused():
    with pytest.raises(TargetError, match="0 repeats measure nothing"):
        profile_model(Job(MODEL), repeats=0)
