"""A profile of an emulated device: what a plan takes from it, and what not."""

import math

import onnx
import pytest

from edgeweave.compiler.devices import regions as device_regions
from edgeweave.compiler.devices.bench import Effort
from edgeweave.compiler.devices.profile import profile_device
from edgeweave.compiler.pipeline import Job, plan_model
from edgeweave.partition.costs import Source
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.measurements import MeasurementStore
from edgeweave.partition.prediction.soundness import Limits
from edgeweave.targets.board_schema import parse_board
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.pool import Place
from edgeweave.targets.kit.emulate import emulated_device

pytestmark = pytest.mark.emulated
MODEL = onnx.parser.parse_model(
    """<ir_version: 10, opset_import: ["": 18]>
    g (float[1,4,16,16] x) => (float[1,4,8,8] y)
    <float[4,4,1,1] w = {1,2,3,4, 5,6,7,8, 1,2,3,4, 5,6,7,8}> {
        a = Conv(x, w)
        b = Relu(a)
        e = MaxPool<kernel_shape = [2,2], strides = [2,2]>(b)
        y = Softmax(e)
    }"""
)
QUICK = Effort(repeats=3, limits=Limits(*[math.inf] * 5))


@pytest.fixture
def board(own_board):
    text = own_board("rack-53", mtriple="aarch64-linux-gnu", mcpu="cortex-a53", mattr=("+neon",))
    return parse_board(text, "rack-53")


@pytest.fixture
def place(aarch64_emulator, aarch64_kit, tmp_path):
    options = ["--port", "0", "--name", "virtual-01", "--state", str(tmp_path / "state")]
    with emulated_device(
        aarch64_emulator, aarch64_kit, tmp_path / "log", options, cpu="cortex-a53"
    ) as device:
        yield Place(Address(device.host, device.port))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(folder))
    return folder


def test_a_plan_takes_no_cost_from_an_emulated_device_and_says_so(board, place, cache):
    before = plan_model(Job(MODEL, board))
    profile = profile_device(Job(MODEL, board), place, QUICK)
    assert profile.word == "emulated"
    assert profile.kept == 6
    assert profile.board == board
    assert (profile.refused, profile.broken) == ((), ())

    stored = MeasurementStore(cache).read()
    assert {m.device.word for m in stored.measurements} == {"emulated"}
    assert {link.device.word for link in stored.links} == {"emulated"}
    assert {c.device.word for c in stored.calibrations} == {"emulated"}
    assert stored.seconds() == {}

    after = plan_model(Job(MODEL, board))
    assert {p.source for p in after.plan.placements} == {Source.ROOFLINE}
    assert after.board == before.board
    assert after.table.stage_overhead_s == before.table.stage_overhead_s
    assert after.table.transfers == before.table.transfers
    # three regions, the call that computes nothing, the link, two calibrations
    assert after.checks.facts.emulated == 7
    assert after.checks.notes == list(after.checks.facts.notes)
    (use,) = after.checks.facts.uses(after.regions.graph.regions)
    assert (use.device.name, use.costs, use.calls, use.links) == ("virtual-01", 0, 0, 0)
    assert (use.calibrations, use.verdicts) == (0, 3)


def test_a_plan_takes_verdicts_from_an_emulated_device(board, place, cache, monkeypatch):
    def build(source, engine, folder):  # a compiler that takes one operator for another
        if source.stage.regions[0].operators[0].type == "MaxPool":
            for node in source.parts[0].proto.graph.node:
                node.op_type = "AveragePool"
        return real(source, engine, folder)

    real = device_regions.build_stage
    monkeypatch.setattr(device_regions, "build_stage", build)
    profile = profile_device(Job(MODEL, board), place, QUICK)
    (refused,) = profile.refused
    assert refused.verdict == "different"
    with pytest.raises(PartitionError, match="no slot of the board takes it") as caught:
        plan_model(Job(MODEL, board))
    assert "(on virtual-01, emulated, " in str(caught.value)
    assert "[checked.different]" in str(caught.value)
    assert "virtual-01 runs no onnxruntime stages" in str(caught.value)
