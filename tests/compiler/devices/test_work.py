import pytest

from edgeweave.compiler.devices.regions import Unbuilt, control_kernel, open_together
from edgeweave.compiler.devices.work import Batch, LinkItem, build_work
from edgeweave.compiler.regions import find_regions
from edgeweave.runtime.manifest_check import check_manifest
from edgeweave.targets.board_schema import parse_board


def unlike(count):
    """A model of so many different regions."""
    steps = [f"y{i} = LeakyRelu<alpha = 0.{i:02d}>(x)" for i in range(1, count + 1)]
    outputs = ", ".join(f"float[2,3] y{i}" for i in range(1, count + 1))
    return f"g (float[2,3] x) => ({outputs}) {{ {' '.join(steps)} }}"


@pytest.fixture(scope="module")
def board(own_board):
    return parse_board(own_board("work"), "work")


@pytest.fixture
def work(board, canonical, tmp_path):
    def build(text):
        regions = find_regions(canonical(text))
        return build_work(regions, board.engines, board, tmp_path, lambda *_step: None)

    return build


def test_equal_engines_share_the_work_and_their_link_is_measured(work):
    found = work("g (float[2,3] x) => (float[2,3] y) { h = Softmax(x) y = Softmax(h) }")
    batch, link = found.items
    assert isinstance(batch, Batch)
    # the call that computes nothing, and one region for both operators and both engines
    assert batch.names == ("r000 Relu on a", "r000 Softmax on a")
    assert batch.regions[0].is_empty_call
    assert batch.control.region.digest == control_kernel().graph.regions[0].digest
    assert isinstance(link, LinkItem)
    assert link.names == ("hand-over between a and b",)
    assert (found.unbuilt, found.notes) == ((), ())


def test_regions_that_a_rule_refuses_are_not_measured(work):
    found = work("g (float[2,3] x) => (float[2,3] y) { h = Softmax(x) y = LpNormalization(h) }")
    assert "LpNormalization" not in str([item.names for item in found.items])


def test_what_is_opened_together_is_a_sound_manifest(work, board):
    found = work("g (float[2,3] x) => (float[3,2] y) { h = Softmax(x) y = Transpose(h) }")
    batch = found.items[0]
    manifest = open_together((batch.control, *batch.regions), board)
    check_manifest(manifest)
    assert len(manifest.inputs) == len(manifest.outputs) == 4


def test_many_regions_are_measured_in_several_batches(work):
    found = work(unlike(17))
    sizes = [item.size for item in found.items]
    assert sizes == [16, 2, 1]


def test_a_region_that_cannot_be_built_is_left_out_and_named(work, monkeypatch):
    from edgeweave.compiler.devices import regions as device_regions
    from edgeweave.targets.errors import BuildError

    def build(source, engine, folder):
        if source.stage.regions[0].operators[0].type == "Transpose":
            raise BuildError("stage", "no such instruction")
        return real(source, engine, folder)

    real = device_regions.build_stage
    monkeypatch.setattr(device_regions, "build_stage", build)
    found = work("g (float[2,3] x) => (float[3,2] y) { h = Softmax(x) y = Transpose(h) }")
    (unbuilt,) = found.unbuilt
    assert isinstance(unbuilt, Unbuilt)
    assert (unbuilt.region.name, unbuilt.reason) == ("r001 Transpose", "no such instruction")
    assert found.items[0].size == 2
