import dataclasses

import numpy as np
import pytest

from edgeweave.compiler.pack import pack
from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.compare import Tolerance
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.pipeline import Pipeline
from edgeweave.runtime.verify import verify

FRAMES = [{"x": np.arange(4, dtype=np.float32) + i} for i in range(3)]


def test_a_bundle_agrees_with_the_model_it_was_made_from(packed_diamond):
    with open_bundle(packed_diamond["tar"]) as bundle:
        found = verify(bundle, FRAMES)
    assert (found.passed, found.frames, found.tolerance) == (True, 3, Tolerance(1e-3, 1e-3))
    (output,) = found.outputs
    assert (output.name, output.max_abs) == ("y", 0.0)


def test_an_open_pipeline_is_used_and_left_open(packed_diamond):
    with open_bundle(packed_diamond["folder"]) as bundle, Pipeline(bundle) as pipeline:
        assert verify(bundle, FRAMES, pipeline=pipeline).passed
        assert pipeline.submit(FRAMES[0]) == 3


def test_a_wrong_stage_is_found_and_measured(builders, make_bundle):
    made = builders.diamond_content()
    wrong = builders.stage(
        "s1",
        "cpu1",
        builders.scaled("a", "b", "Mul", 4),
        [builders.spec("a")],
        [builders.spec("b")],
    )
    stages = (made.stages[0], wrong, *made.stages[2:])
    with open_bundle(make_bundle(dataclasses.replace(made, stages=stages))) as bundle:
        found = verify(bundle, FRAMES[:1])
    assert not found.passed
    (output,) = found.outputs
    assert (output.max_abs, output.max_rel) == (8.0, 0.4)  # 7 * 4 instead of 5 * 4
    assert "4 of 4 values" in output.mismatch


def test_a_bundle_without_its_reference_cannot_be_verified(builders, tmp_path):
    made = dataclasses.replace(builders.diamond_content(), reference=None)
    with (
        open_bundle(pack(made, tmp_path / "b")) as bundle,
        pytest.raises(RuntimeFault, match="carries no reference model"),
    ):
        verify(bundle, FRAMES)


def test_a_reference_with_an_input_that_the_bundle_lacks_is_refused(builders, make_bundle):
    made = builders.diamond_content()
    other = builders.scaled("z", "y", "Mul", 5).SerializeToString()
    with (
        open_bundle(make_bundle(dataclasses.replace(made, reference=other))) as bundle,
        pytest.raises(RuntimeFault, match="has the input 'z'"),
    ):
        verify(bundle, FRAMES)


def test_a_verification_without_frames_is_refused(packed_diamond):
    with (
        open_bundle(packed_diamond["folder"]) as bundle,
        pytest.raises(RuntimeFault, match="no frame"),
    ):
        verify(bundle, [])


@pytest.mark.parametrize(("step", "passed"), [(4.0, True), (3.9, False)])
def test_a_quantised_output_may_be_two_steps_off_and_no_more(builders, make_bundle, step, passed):
    made = builders.diamond_content()
    wrong = builders.stage(
        "s1",
        "cpu1",
        builders.scaled("a", "b", "Mul", 4),
        [builders.spec("a")],
        [builders.spec("b")],
    )
    stages = (made.stages[0], wrong, *made.stages[2:])
    content = dataclasses.replace(made, stages=stages, output_steps={"y": step})
    with open_bundle(make_bundle(content)) as bundle:
        found = verify(bundle, FRAMES[:1])
    (output,) = found.outputs
    assert (found.passed, output.max_abs) == (passed, 8.0)
    assert found.output_steps == {"y": step}
    if not passed:  # the model itself does not move as far
        assert output.rounding is not None
        assert output.rounding[0] < 4.0
