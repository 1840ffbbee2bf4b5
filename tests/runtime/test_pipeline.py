"""The pipeline on real ONNX Runtime stages; a test-only runner kind where timing matters."""

import threading

import numpy as np
import pytest

from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.errors import InputError, RuntimeFault
from edgeweave.runtime.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def frame(value=0.0):
    return {"x": np.full(4, value, np.float32)}


def value_of(outputs):
    return float(outputs["y"][0])


@pytest.fixture
def diamond(packed_diamond):
    with open_bundle(packed_diamond["folder"]) as bundle:
        yield bundle


def test_a_diamond_of_four_stages_on_two_engines_gives_the_model_s_result(diamond):
    with Pipeline(diamond) as pipeline:
        assert pipeline.engines == ("cpu0", "cpu1")
        assert (pipeline.word, pipeline.notes) == ("measured", ())
        outputs = pipeline.run({"x": np.arange(4, dtype=np.float32)})
    np.testing.assert_array_equal(outputs["y"], [5, 10, 15, 20])


def test_streamed_frames_come_out_in_order_with_the_times_of_their_stages(diamond):
    with Pipeline(diamond) as pipeline:
        results = list(pipeline.stream(frame(i) for i in range(50)))
    assert [value_of(result.outputs) for result in results] == [5.0 * (i + 1) for i in range(50)]
    assert [result.frame for result in results] == list(range(50))
    for result in results:
        assert set(result.stage_seconds) == {"s0", "s1", "s2", "s3"}
        last = max(end for _, end in result.spans.values())
        assert result.finished_at == last
        assert result.latency_s >= max(result.stage_seconds.values())
        assert result.spans["s3"][0] >= max(result.spans["s1"][1], result.spans["s2"][1])


def test_one_pipeline_runs_single_frames_and_streams_by_turns(diamond):
    with Pipeline(diamond) as pipeline:
        for turn in range(3):
            assert value_of(pipeline.run(frame(turn))) == 5.0 * (turn + 1)
            assert len(list(pipeline.stream([frame(), frame()]))) == 2
        assert list(pipeline.stream([])) == []


@pytest.mark.parametrize(
    ("given_frame", "message"),
    [
        ({}, "input 'x': is missing"),
        ({"x": frame()["x"], "z": 1}, "input 'z': is not an input of the model"),
        ({"x": np.zeros(4)}, "input 'x': expected dtype float32, got float64"),
        ({"x": np.zeros(5, np.float32)}, "input 'x': expected shape 4, got 5"),
        ({"x": np.zeros((4, 1), np.float32)}, "input 'x': expected shape 4, got 4x1"),
        ({"x": np.float32(1)}, "input 'x': expected shape 4, got scalar"),
        ({"x": None}, "input 'x': expected dtype float32, got object"),
    ],
)
def test_a_frame_that_is_not_as_declared_is_refused_and_the_next_one_runs(
    diamond, given_frame, message
):
    with Pipeline(diamond) as pipeline:
        with pytest.raises(InputError, match=message):
            pipeline.run(given_frame)
        assert value_of(pipeline.run(frame())) == 5.0


def test_a_bad_frame_inside_a_stream_raises_after_the_frames_before_it(diamond):
    with Pipeline(diamond) as pipeline:
        stream = pipeline.stream([frame(0), frame(1), {}, frame(3)])
        assert [value_of(next(stream).outputs) for _ in range(2)] == [5.0, 10.0]
        with pytest.raises(InputError, match="input 'x': is missing"):
            next(stream)


def test_submitting_waits_while_the_pipeline_is_full(diamond):
    with Pipeline(diamond, queue_depth=2) as pipeline:
        assert [pipeline.submit(frame(i)) for i in range(2)] == [0, 1]
        with pytest.raises(RuntimeFault, match="still holds 2 frames"):
            pipeline.submit(frame(), timeout_s=0.01)
        assert value_of(pipeline.result().outputs) == 5.0
        assert pipeline.submit(frame(2)) == 2
        assert [value_of(pipeline.result().outputs) for _ in range(2)] == [10.0, 15.0]


def test_a_result_without_a_frame_is_refused(diamond):
    with Pipeline(diamond) as pipeline, pytest.raises(RuntimeFault, match="holds no frame"):
        pipeline.result()


def test_a_second_stream_while_one_is_read_is_refused(diamond):
    with Pipeline(diamond) as pipeline:
        first = pipeline.stream([frame(0), frame(1)])
        next(first)
        with pytest.raises(RuntimeFault, match="has frames in flight"):
            pipeline.run(frame())
        first.close()
        assert value_of(pipeline.run(frame(2))) == 15.0


def test_an_abandoned_stream_drops_its_frames_and_the_pipeline_goes_on(diamond):
    taken = []

    def camera():
        for i in range(1000):
            taken.append(i)
            yield frame(i)

    with Pipeline(diamond, queue_depth=4) as pipeline:
        for result in pipeline.stream(camera()):
            if result.frame == 2:
                break
        assert len(taken) <= 8
        assert value_of(pipeline.run(frame(9))) == 50.0


def test_an_interrupt_while_a_stream_is_read_ends_all_threads(diamond):
    def interrupted():
        yield frame()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Pipeline(diamond) as pipeline:
        list(pipeline.stream(interrupted()))


def test_a_closed_pipeline_refuses_frames_and_may_be_closed_again(diamond):
    pipeline = Pipeline(diamond)
    pipeline.close()
    pipeline.close()
    with pytest.raises(RuntimeFault, match="is closed"):
        pipeline.submit(frame())
    with pytest.raises(RuntimeFault, match="is closed"):
        pipeline.result()


def test_closing_wakes_a_submit_that_waits(diamond, in_thread):
    pipeline = Pipeline(diamond, queue_depth=1)
    pipeline.submit(frame())
    closer = threading.Timer(0.05, pipeline.close)
    closer.start()
    with pytest.raises(RuntimeFault, match="is closed"):
        pipeline.submit(frame())
    closer.join()


def test_a_dropped_pipeline_ends_its_threads(diamond):
    pipeline = Pipeline(diamond)
    pipeline.run(frame())
    del pipeline


def test_a_queue_depth_below_one_is_refused(diamond):
    with pytest.raises(RuntimeFault, match="queue depth"):
        Pipeline(diamond, queue_depth=0)


# Below, a runner of the tests' own kind, so that stages can be slow or fail on demand.
