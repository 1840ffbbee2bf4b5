import numpy as np
import pytest

from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.cpu_times import CpuTimes
from edgeweave.runtime.errors import RuntimeFault, StageFailure
from edgeweave.runtime.overlap import measure_overlap
from edgeweave.runtime.pipeline import Pipeline

FRAMES = [{"x": np.full(4, i, np.float32)} for i in range(6)]


@pytest.fixture
def cpu():
    return CpuTimes()


@pytest.fixture
def pipeline(packed_diamond, cpu):
    with (
        open_bundle(packed_diamond["folder"]) as bundle,
        Pipeline(bundle, loaders={"onnxruntime": cpu.load}) as opened,
    ):
        yield opened


def test_the_terms_of_an_overlap_add_up_to_the_periods(pipeline, cpu):
    overlap = measure_overlap(pipeline, FRAMES, cpu)
    assert sum(overlap.sequential_terms().values()) == pytest.approx(overlap.sequential_s)
    assert sum(overlap.interval_terms().values()) == pytest.approx(overlap.cycle.interval_s)
    assert overlap.gain == overlap.sequential_s / overlap.cycle.interval_s
    assert overlap.engine == max(overlap.engine_s, key=lambda name: overlap.engine_s[name])
    assert 1 <= overlap.bound <= 2


def test_a_core_works_no_longer_for_a_stage_than_the_time_that_passes(pipeline, cpu):
    overlap = measure_overlap(pipeline, FRAMES, cpu)
    for engine, worked in overlap.alone_cpu_s.items():
        assert 0 < worked <= overlap.alone_s[engine]


def test_cpu_times_forget_what_was_taken(pipeline, cpu):
    pipeline.run(FRAMES[0])
    assert set(cpu.take(1)) == {"s0", "s1", "s2", "s3"}
    assert cpu.take(1) == {}


def test_a_timed_stage_returns_what_the_stage_returns(pipeline):
    assert pipeline.run(FRAMES[3])["y"].tolist() == [20.0] * 4


def test_an_overlap_needs_two_frames(pipeline, cpu):
    with pytest.raises(RuntimeFault, match="1 frames cannot overlap"):
        measure_overlap(pipeline, FRAMES[:1], cpu)


class Superstitious:
    """A runner of the stage that refuses the number 3."""

    def __init__(self, runner):
        self._runner = runner
        self.close = runner.close

    def run(self, inputs):
        if inputs[0][0] == 3:
            raise ValueError("not this one")
        return self._runner.run(inputs)


def test_a_stage_that_fails_ends_the_measurement(packed_diamond, cpu):
    def load(stage, folder, cores):
        return Superstitious(cpu.load(stage, folder, cores))

    with (
        open_bundle(packed_diamond["folder"]) as bundle,
        Pipeline(bundle, loaders={"onnxruntime": load}) as pipeline,
        pytest.raises(StageFailure, match="not this one"),
    ):
        measure_overlap(pipeline, FRAMES, cpu)
