"""What goes wrong while a device is measured: with its code, its link, or what was asked for."""

import struct
from dataclasses import replace

import pytest

from edgeweave.compiler.checks import Checks
from edgeweave.compiler.devices import regions as device_regions
from edgeweave.compiler.devices.profile import profile_device
from edgeweave.compiler.pipeline import Job
from edgeweave.partition.prediction.measurements import MeasurementStore
from edgeweave.targets.board_schema import parse_board
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import (
    DeviceFailure,
    DeviceUnreachable,
    MissingFeatures,
    NoSuchKey,
    TrackerUnreachable,
    WrongArchitecture,
)
from edgeweave.targets.devices.pool import Place
from edgeweave.targets.errors import BuildError, TargetError
from edgeweave.targets.host import detect_host

UD2, JUMP_TO_ITSELF = b"\x0f\x0b", b"\xeb\xfe"


@pytest.fixture
def spoil(monkeypatch):
    """Replace the code of the regions with that operator: ``spoil("Softmax", change)``.

    ``change`` gets the source and the artifact that was built of it.
    """

    def install(operator, change):
        def build(source, engine, folder):
            artifact = real(source, engine, folder)
            if operator in {op.type for region in source.stage.regions for op in region.operators}:
                change(source, artifact)
            return artifact

        real = device_regions.build_stage
        monkeypatch.setattr(device_regions, "build_stage", build)

    return install


def overwrite_code(artifact, instruction):
    """Fill the machine code of the library with one instruction (ELF, 64 bits)."""
    path = artifact.folder / "stage.so"
    data = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    for at in range(table, table + size * count, size):
        kind, flags = struct.unpack_from("<IQ", data, at + 4)
        offset, length = struct.unpack_from("<QQ", data, at + 24)
        if kind == 1 and flags & 4:  # executable program bits
            data[offset : offset + length] = instruction * (length // len(instruction)) + bytes(
                length % len(instruction)
            )
    path.write_bytes(data)


def test_wrong_code_is_found_on_the_device_and_refused_by_the_next_plan(
    board, place, cache, monkeypatch, model, quick
):
    def build(source, engine, folder):
        if source.stage.regions[0].operators[0].type == "MaxPool":
            for node in source.parts[0].proto.graph.node:
                node.op_type = "AveragePool"
        return real(source, engine, folder)

    real = device_regions.build_stage
    monkeypatch.setattr(device_regions, "build_stage", build)
    profile = profile_device(Job(model, board), place, quick)
    (refused,) = profile.refused
    assert (refused.region.operators[0].type, refused.verdict) == ("MaxPool", "different")
    assert refused.detail.startswith("max abs error")
    times = {region.name.split()[1]: region.times for region in profile.regions}
    assert times["MaxPool"] == ()
    assert times["Softmax"]
    checks = Checks(detect_host(cache), cache, board)
    refusal = checks.refuse(refused.region, board.engines[1], "cpu")
    assert refusal.rule == "checked.different"
    assert "(on rack-01, " in refusal.reason


def test_a_region_that_crashes_its_session_is_named_and_the_next_one_goes_on(
    board, place, cache, spoil, model, quick
):
    spoil("MaxPool", lambda _source, artifact: overwrite_code(artifact, UD2))
    profile = profile_device(Job(model, board), place, quick)
    (refused,) = profile.refused
    assert (refused.region.operators[0].type, refused.verdict) == ("MaxPool", "crashed")
    assert "SIGILL" in refused.detail
    measured = {region.name.split()[1] for region in profile.regions if region.times}
    assert measured == {"Conv+Relu", "Softmax", "GlobalAveragePool+Flatten"}
    checks = Checks(detect_host(cache), cache, board)
    assert checks.refuse(refused.region, board.engines[0], "cpu").rule == "checked.crashed"


@pytest.mark.slow  # the device ends what hangs after 8 x the time limit + 10 s
def test_a_region_that_hangs_is_named_and_the_next_one_goes_on(
    board, place, cache, spoil, model, quick
):
    spoil("MaxPool", lambda _source, artifact: overwrite_code(artifact, JUMP_TO_ITSELF))
    profile = profile_device(Job(model, board), place, replace(quick, timeout_s=1.5))
    (refused,) = profile.refused
    assert (refused.region.operators[0].type, refused.verdict) == ("MaxPool", "crashed")
    assert "1.5 s" in refused.detail
    assert sum(bool(region.times) for region in profile.regions) == 3


def test_a_region_that_cannot_be_built_is_named(board, place, cache, spoil, model, quick):
    def fail(source, _artifact):
        raise BuildError(source.stage.name, "no such instruction")

    spoil("Softmax", fail)
    profile = profile_device(Job(model, board), place, quick)
    (refused,) = profile.refused
    assert (refused.verdict, refused.detail) == ("unbuildable", "no such instruction")
    checks = Checks(detect_host(cache), cache, board)
    refusal = checks.refuse(refused.region, board.engines[0], "cpu")
    assert (refusal.rule, refusal.reason) == (
        "checked.unbuildable",
        "it cannot be built: no such instruction",
    )


def test_a_device_that_cannot_run_anything_on_an_engine_blames_no_region(
    own_board, place, cache, model, quick
):
    board = parse_board(own_board("far").replace("cores = [1]", "cores = [5000]"), "far")
    engines = (board.engines[0], replace(board.engines[1], cores=(5000,)))
    profile = profile_device(
        Job(model, replace(board, engines=engines[1:], links=())), place, quick
    )
    assert profile.refused == ()
    with pytest.raises(DeviceFailure, match="cannot run a plain matrix product on b"):
        profile.check()


def test_a_device_that_is_lost_is_named_and_the_others_go_on(
    board, start_device, tracker, cache, model, quick
):
    started = {
        name: start_device("--name", name, tracker=tracker, key="profile-lost")
        for name in ("rack-01", "rack-02")
    }
    killed = []

    def kill(phase, _done, _total, what):
        if "rack" in what and not killed:
            killed.append(what.partition(":")[0])
            started[killed[0]].process.kill()

    place = Place(Address(tracker.host, tracker.port), "profile-lost")
    profile = profile_device(Job(model, board), place, quick, kill)
    lost = {device.name: device.fault for device in profile.devices}
    assert lost.pop(killed[0]) is not None
    assert list(lost.values()) == [None]
    assert profile.kept == 8
    assert profile.unmeasured == ()


def test_when_the_only_device_is_lost_its_fault_is_raised(board, start_device, cache, model, quick):
    device = start_device("--name", "rack-01")

    def kill(phase, _done, _total, what):
        if "Softmax" in what and "rack-01" in what:
            device.process.kill()

    place = Place(Address(device.host, device.port))
    profile = profile_device(Job(model, board), place, quick, kill)
    assert profile.kept == 0
    assert len(profile.unmeasured) == 6
    with pytest.raises(DeviceUnreachable, match="cannot be reached"):
        profile.check()


def test_a_device_of_another_architecture_is_refused_before_anything_is_built(
    own_board, place, cache, model, quick
):
    text = own_board("other", mtriple="aarch64-linux-gnu", mcpu="cortex-a53")
    steps = []
    with pytest.raises(WrongArchitecture, match="and the board's CPUs are aarch64"):
        profile_device(
            Job(model, parse_board(text, "other")), place, quick, lambda *s: steps.append(s)
        )
    assert steps == []


def test_a_device_without_the_boards_cpu_features_is_refused(own_board, place, cache, model, quick):
    board = parse_board(own_board("newer", mcpu="sapphirerapids"), "newer")
    steps = []
    with pytest.raises(MissingFeatures, match=r"its CPU lacks .*, which code for a of newer uses"):
        profile_device(Job(model, board), place, quick, lambda *s: steps.append(s))
    assert steps == []
    assert MeasurementStore(cache).read().devices == ()


def test_a_board_without_a_cpu_that_tvm_compiles_for_is_refused(
    own_board, place, cache, model, quick
):
    text = own_board("ort").replace('["cpu", "onnxruntime"]', '["onnxruntime"]')
    with pytest.raises(TargetError, match="board ort: has no CPU engine with the cpu backend"):
        profile_device(Job(model, parse_board(text, "ort")), place, quick)


def test_a_board_of_several_architectures_is_refused(own_board, place, cache, model, quick):
    first, second = (own_board("mixed", mtriple=f"{arch}-linux-gnu") for arch in ("arm", "riscv64"))
    lines = zip(first.splitlines(), second.splitlines(), strict=True)
    half = first.count("\n") // 2
    text = "\n".join(one if number < half else other for number, (one, other) in enumerate(lines))
    with pytest.raises(TargetError, match="its CPU engines are of several architectures"):
        profile_device(Job(model, parse_board(text, "mixed")), place, quick)


def test_this_machine_is_no_device(place, cache, model, quick):
    with pytest.raises(TargetError, match=r"board host: .* --rpc measures another"):
        profile_device(Job(model), place, quick)


def test_an_absent_device_and_an_absent_tracker_are_told_at_once(board, cache, model, quick):
    steps = []
    nowhere = Address("127.0.0.1", 1)
    for place, fault in (
        (Place(nowhere), DeviceUnreachable),
        (Place(nowhere, "any"), TrackerUnreachable),
    ):
        with pytest.raises(fault):
            profile_device(Job(model, board), place, quick, lambda *s: steps.append(s))
    assert steps == []


def test_an_unknown_key_is_told_at_once(board, tracker, cache, model, quick):
    place = Place(Address(tracker.host, tracker.port), "profile-none")
    with pytest.raises(NoSuchKey, match="profile-none"):
        profile_device(Job(model, board), place, quick)
