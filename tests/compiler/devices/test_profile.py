"""A model's regions measured on the real device program, on this machine."""

from dataclasses import replace

import onnx
import pytest

from edgeweave.compiler.devices.profile import NothingMeasuredError, profile_device
from edgeweave.compiler.pipeline import Job, plan_model
from edgeweave.partition.costs import Source
from edgeweave.partition.prediction.measurements import MeasurementStore
from edgeweave.targets.board_schema import parse_board
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.pool import Place

NAMES = ["Conv+Relu", "MaxPool", "Softmax", "GlobalAveragePool+Flatten"]


def kinds(names):
    return [name.split(maxsplit=1)[1] for name in names]


def test_a_profile_is_measured_kept_and_used_by_the_next_plan(board, place, cache, model, quick):
    steps = []
    profile = profile_device(Job(model, board), place, quick, lambda *step: steps.append(step))
    assert profile.word == "measured"
    assert kinds(region.name for region in profile.regions) == NAMES
    assert [region.count for region in profile.regions] == [2, 1, 1, 1]
    for region in profile.regions:
        assert [str(time.slot) for time in region.times] == ["a/cpu", "b/cpu"]
        assert all(time.measurement.repeats >= 5 for time in region.times)
    assert [str(call.slot) for call in profile.calls] == ["a/cpu", "b/cpu"]
    (device,) = profile.devices
    assert (device.name, device.measured, device.fault, device.left_out) == ("rack-01", 5, None, "")
    assert (profile.refused, profile.broken, profile.unmeasured) == ((), (), ())
    assert [fit.after.name for fit in profile.fits] == ["a", "b"]
    profile.check()
    assert {phase for phase, *_ in steps} == {
        "import", "building regions", "measuring on the device", "calibrate",
    }  # fmt: skip

    stamp = device.stamp
    assert stamp.parts
    assert "apache-tvm" in stamp.versions
    stored = MeasurementStore(cache).read()
    assert {m.device.name for m in stored.measurements} == {"rack-01"}
    assert all(m.device.word == "measured" and m.date for m in stored.measurements)
    assert stored.device(board).runners == ("tvm",)

    planned = plan_model(Job(model, board))
    assert [p.source for p in planned.plan.placements] == [Source.MEASURED] * 5
    calls = profile.calls[0].measurement.seconds
    assert planned.table.stage_overhead_s[planned.table.slots.index(profile.calls[0].slot)] == calls
    link = planned.board.links[0]
    assert link.latency_us.value == profile.links[0].link.latency_us
    assert link.latency_us.origin.startswith("measured ")
    assert link.latency_us.origin.endswith(" on rack-01, 50 times")
    assert planned.board == profile.board
    origin = planned.board.engine("a").compute_efficiency.origin
    assert origin.endswith("measured on rack-01")
    (use,) = planned.checks.facts.uses(planned.regions.graph.regions)
    assert (use.device.name, use.costs, use.calls, use.links, use.calibrations) == (
        "rack-01", 4, 1, 1, 2,
    )  # fmt: skip
    assert all(planned.checks.is_checked(r, "cpu") for r in planned.regions.graph.regions)


def test_a_plan_for_the_board_no_longer_counts_on_onnx_runtime(board, place, cache, model, quick):
    before = plan_model(Job(model, board))
    assert {other.rule for p in before.plan.placements for other in p.alternatives} <= {""}
    profile_device(Job(model, board), place, quick)
    after = plan_model(Job(model, board))
    refused = {o.rule for p in after.plan.placements for o in p.alternatives if o.rule}
    assert refused == {"device.runner"}
    assert {p.slot.backend for p in after.plan.placements} == {"cpu"}


def test_a_device_with_a_secret_is_profiled_by_who_knows_it(
    board, start_device, cache, tmp_path, model, quick
):
    secret = tmp_path / "secret"
    secret.write_text("quiet words\n")
    device = start_device("--secret-file", str(secret))
    place = Place(Address(device.host, device.port))
    place = replace(place, options=replace(place.options, secret=b"quiet words"))
    assert profile_device(Job(model, board), place, quick).kept == 8


def test_times_of_a_device_that_does_not_keep_still_are_named_and_not_kept(
    board, place, cache, model, quick
):
    # not even a faster control kernel would do
    limits = replace(quick.limits, control_share=-0.9)
    profile = profile_device(Job(model, board), place, replace(quick, limits=limits))
    assert profile.kept == 0
    assert {fault.kind for broken in profile.broken for fault in broken.faults} == {"control"}
    assert kinds(r.name for r in profile.broken[0].regions) == ["Relu", *NAMES]
    with pytest.raises(NothingMeasuredError, match=r"no time of a region was kept \(rack-01: one"):
        profile.check()
    stored = MeasurementStore(cache).read()
    assert stored.measurements == ()
    assert stored.calibrations == ()
    # links and verdicts are no costs of regions
    assert len(stored.links) == 1
    planned = plan_model(Job(model, board))
    assert {p.source for p in planned.plan.placements} == {Source.ROOFLINE}
    assert all(planned.checks.is_checked(r, "cpu") for r in planned.regions.graph.regions)


def test_times_that_the_board_file_rules_out_are_named_and_not_kept(
    own_board, place, cache, model, quick
):
    text = own_board("slow").replace(
        "peak_float32_gops = { value = 50", "peak_float32_gops = { value = 1e-4"
    )
    board = parse_board(text, "slow")
    limits = replace(quick.limits, faster_than_ideal=2.0)
    profile = profile_device(Job(model, board), place, replace(quick, limits=limits))
    assert {fault.kind for broken in profile.broken for fault in broken.faults} == {"roofline"}
    assert profile.kept == 0


def test_cores_that_the_device_does_not_have_make_no_costs(own_board, place, cache, model, quick):
    text = own_board("many").replace("cores = [1]", "cores = [900]")
    text = text.replace("cores = [0]", "cores = [0, 901]")
    profile = profile_device(Job(model, parse_board(text, "many")), place, quick)
    assert {fault.kind for broken in profile.broken for fault in broken.faults} == {"cores"}
    assert profile.kept == 0
    (link,) = profile.links
    assert "900" in link.fault
    assert MeasurementStore(cache).read().links == ()


def test_what_was_measured_is_kept_when_the_profile_is_interrupted(
    board, place, cache, model, quick
):
    def interrupt(phase, _done, _total, what):
        if "hand-over" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile_device(Job(model, board), place, quick, interrupt)
    stored = MeasurementStore(cache).read()
    assert len(stored.measurements) == 5
    assert stored.links == ()
    planned = plan_model(Job(model, board))
    assert {p.source for p in planned.plan.placements} == {Source.MEASURED}
    # and the device is free again
    assert profile_device(Job(model, board), place, quick).kept == 8


def test_devices_of_a_key_share_the_work(board, start_device, tracker, cache, model, quick):
    for name in ("rack-01", "rack-02"):
        start_device("--name", name, tracker=tracker, key="profile-two")
    place = Place(Address(tracker.host, tracker.port), "profile-two")
    profile = profile_device(Job(model, board), place, quick)
    assert sorted(device.name for device in profile.devices) == ["rack-01", "rack-02"]
    assert sum(device.measured for device in profile.devices) == 5
    assert profile.kept == 8


def test_a_model_that_has_nothing_for_tvm_measures_nothing(board, place, cache, quick):
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]>
        g (float[2,4] x) => (float[2,4] y) { y = LpNormalization(x) }"""
    )
    profile = profile_device(Job(model, board), place, quick)
    with pytest.raises(NothingMeasuredError, match="it has no region that TVM takes"):
        profile.check()
