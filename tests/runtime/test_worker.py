"""The pipeline's workers on scripted stages, whose times and failures a test decides."""

import os
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.runtime.bundle import Bundle
from edgeweave.runtime.errors import BundleError, RuntimeFault, StageFailure
from edgeweave.runtime.manifest import Manifest, StageEntry
from edgeweave.runtime.pipeline import Pipeline
from edgeweave.runtime.spec import ValueSpec

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def frame(value=0.0):
    return {"x": np.full(4, value, np.float32)}


def value_of(outputs):
    return float(outputs["y"][0])


def spec(name):
    return ValueSpec(name, "tensor(float)", (4,))


def entry(name, engine, inputs, outputs, cores=(), host_run="measured", options=None):
    return StageEntry(
        name=name,
        engine=engine,
        backend="fake",
        cores=cores,
        kind="scripted",
        folder=f"stages/{name}",
        files=(),
        inputs=tuple(spec(n) for n in inputs),
        outputs=tuple(spec(n) for n in outputs),
        options=options or {},
        predicted_s=0.0,
        host_run=host_run,
    )


def bundle_of(tmp_path, *stages, inputs=("x",), outputs=("y",)):
    manifest = Manifest(
        format_version=1,
        model="m",
        model_digest="",
        board="host",
        board_identity="",
        inputs=tuple(spec(n) for n in inputs),
        outputs=tuple(spec(n) for n in outputs),
        stages=stages,
        files=(),
        predicted_latency_s=0.0,
        predicted_interval_s=0.0,
        budget_s=None,
        reference=None,
        created_with={},
        output_steps={},
    )
    return Bundle(tmp_path, tmp_path, manifest, None)


class Scripted:
    """Calls ``body(stage, inputs)`` and records opening, running and closing with the thread."""

    def __init__(self, body):
        self.body = body
        self.events = []

    def open(self, stage, folder, cores):
        self.events.append(("open", stage.name, threading.get_ident()))
        script = self

        class Runner:
            def run(self, inputs):
                script.events.append(("run", stage.name, threading.get_ident()))
                return script.body(stage, inputs)

            def close(self):
                script.events.append(("close", stage.name, threading.get_ident()))

        return Runner()


def pipeline_of(bundle, body, **options):
    script = Scripted(body)
    return Pipeline(bundle, loaders={"scripted": script.open}, **options), script


def counting(stage, inputs):
    """One more than the largest input: how many stages the frame has passed, plus its value."""
    return [np.maximum.reduce(inputs) + 1 for _ in stage.outputs]


def two_engines(tmp_path):
    return bundle_of(
        tmp_path,
        entry("s0", "cpu0", ["x"], ["a", "b"]),
        entry("s1", "cpu1", ["a"], ["c"]),
        entry("s2", "cpu0", ["b", "x"], ["d"]),
        entry("s3", "cpu1", ["c", "d"], ["y"]),
    )


def test_each_engine_opens_runs_and_closes_its_stages_in_one_thread(tmp_path):
    pipeline, script = pipeline_of(two_engines(tmp_path), counting)
    with pipeline:
        pipeline.run(frame())
    threads = {}
    for action, stage, thread in script.events:
        threads.setdefault(stage, []).append((action, thread))
    assert {s: [a for a, _ in seen] for s, seen in threads.items()} == {
        name: ["open", "run", "close"] for name in ("s0", "s1", "s2", "s3")
    }
    used = {name: {thread for _, thread in seen} for name, seen in threads.items()}
    assert used["s0"] == used["s2"]
    assert used["s1"] == used["s3"]
    assert len(used["s0"] | used["s1"]) == 2
    assert threading.get_ident() not in used["s0"] | used["s1"]


@settings(max_examples=25, deadline=None)
@given(
    delays=st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=8),
    depth=st.integers(1, 5),
)
def test_frames_keep_their_order_and_values_under_any_stage_times(tmp_path_factory, delays, depth):
    order = {"cpu0": [], "cpu1": []}
    in_flight = []
    pipeline = None

    def body(stage, inputs):
        number = int(inputs[0].flat[0]) // 100
        order[stage.engine].append((number, stage.name))
        in_flight.append(pipeline._scheduler.in_flight)
        time.sleep(delays[number][int(stage.name[1])] / 1000)
        return counting(stage, inputs)

    pipeline, _ = pipeline_of(
        two_engines(tmp_path_factory.mktemp("order")), body, queue_depth=depth
    )
    with pipeline:
        results = list(pipeline.stream(frame(100.0 * i) for i in range(len(delays))))
    assert [value_of(r.outputs) for r in results] == [100.0 * i + 3 for i in range(len(delays))]
    assert max(in_flight) <= depth
    if depth == 1:
        assert order["cpu0"] == sorted(order["cpu0"])


def test_an_engine_runs_the_oldest_frame_first_then_the_plan_s_order(tmp_path):
    gate = threading.Event()
    ran = []
    both = bundle_of(
        tmp_path,
        entry("s0", "cpu0", ["x"], ["a"]),
        entry("s1", "cpu0", ["x"], ["b"]),
        entry("s2", "cpu0", ["a", "b"], ["y"]),
    )

    def body(stage, inputs):
        gate.wait()
        ran.append((int(inputs[0].flat[0]) // 100, stage.name))
        return counting(stage, inputs)

    pipeline, _ = pipeline_of(both, body, queue_depth=2)
    with pipeline:
        for number in range(2):
            pipeline.submit(frame(100.0 * number))
        gate.set()
        for _ in range(2):
            pipeline.result()
    assert ran == [(0, "s0"), (0, "s1"), (0, "s2"), (1, "s0"), (1, "s1"), (1, "s2")]


def failing(bad, stage_name="s1"):
    def body(stage, inputs):
        if stage.name == stage_name and int(inputs[0].flat[0]) // 100 in bad:
            raise ZeroDivisionError("scripted\nsecond line")
        return counting(stage, inputs)

    return body


def test_a_failing_stage_reaches_the_caller_with_its_name_and_the_frame(tmp_path):
    pipeline, _ = pipeline_of(two_engines(tmp_path), failing({2}))
    with pipeline:
        stream = pipeline.stream(frame(100.0 * i) for i in range(9))
        assert [next(stream).frame for _ in range(2)] == [0, 1]
        with pytest.raises(StageFailure) as caught:
            next(stream)
        assert value_of(pipeline.run(frame())) == 3.0
    assert caught.value.subject == "stage s1"
    assert "failed on frame 2 (ZeroDivisionError: scripted)" in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_failure_says_how_many_frames_behind_it_are_dropped(tmp_path):
    ready = threading.Event()

    def camera():
        yield frame(0)
        yield frame(100)
        yield frame(200)
        ready.set()

    def body(stage, inputs):
        ready.wait(5)
        return failing({0}, "s3")(stage, inputs)

    pipeline, _ = pipeline_of(two_engines(tmp_path), body, queue_depth=4)
    with pipeline, pytest.raises(StageFailure, match="2 later frames were in flight"):
        list(pipeline.stream(camera()))


def test_a_stream_that_keeps_going_yields_failed_frames_in_their_place(tmp_path):
    pipeline, _ = pipeline_of(two_engines(tmp_path), failing({1, 4}))
    with pipeline:
        results = list(pipeline.stream((frame(100.0 * i) for i in range(6)), keep_going=True))
    assert [result.failure is None for result in results] == [True, False, True, True, False, True]
    assert [result.frame for result in results] == list(range(6))
    assert results[1].outputs == {}
    assert value_of(results[5].outputs) == 503.0


def test_a_stage_that_returns_too_few_values_fails_its_frame(tmp_path):
    pipeline, _ = pipeline_of(two_engines(tmp_path), lambda stage, inputs: [])
    with pipeline, pytest.raises(StageFailure, match=r"stage s0: .*returned 0 values"):
        pipeline.run(frame())


def test_a_stage_that_raises_system_exit_does_not_end_its_worker(tmp_path):
    def body(stage, inputs):
        if inputs[0].flat[0] < 0:
            raise SystemExit(3)
        return counting(stage, inputs)

    pipeline, _ = pipeline_of(two_engines(tmp_path), body)
    with pipeline:
        with pytest.raises(StageFailure, match="SystemExit"):
            pipeline.run(frame(-1))
        assert value_of(pipeline.run(frame())) == 3.0


def test_a_value_is_freed_when_its_last_reader_has_run(tmp_path):
    kept, seen = {}, {}
    chain = bundle_of(
        tmp_path,
        entry("s0", "cpu0", ["x"], ["a", "unused"]),
        entry("s1", "cpu0", ["a"], ["b"]),
        entry("s2", "cpu0", ["b"], ["c"]),
        entry("s3", "cpu0", ["c"], ["y"]),
    )

    def body(stage, inputs):
        seen[stage.name] = {name for name, value in kept.items() if value() is not None}
        results = counting(stage, inputs)
        for output, result in zip(stage.outputs, results, strict=True):
            kept[output.name] = weakref.ref(result)
        return results

    pipeline, _ = pipeline_of(chain, body)
    with pipeline:
        pipeline.run(frame())
    assert seen["s1"] == {"a"}
    assert "a" not in seen["s2"]
    assert seen["s3"] == {"c"}


def test_outputs_may_be_inputs_or_values_that_other_stages_read_too(tmp_path):
    stages = [entry("s0", "cpu0", ["x"], ["a"]), entry("s1", "cpu0", ["a", "a"], ["y"])]
    pipeline, _ = pipeline_of(bundle_of(tmp_path, *stages, outputs=("y", "a", "x")), counting)
    with pipeline:
        outputs = pipeline.run(frame(1))
    assert {name: float(value[0]) for name, value in outputs.items()} == {"y": 3, "a": 2, "x": 1}


def test_a_stage_without_inputs_runs_once_per_frame(tmp_path):
    constant = entry("s0", "cpu0", [], ["y"])
    pipeline, script = pipeline_of(
        bundle_of(tmp_path, constant, inputs=()), lambda *_: [np.ones(4, np.float32)]
    )
    with pipeline:
        assert [value_of(r.outputs) for r in pipeline.stream([{}, {}])] == [1.0, 1.0]
    assert sum(action == "run" for action, *_ in script.events) == 2


def test_a_model_without_stages_hands_its_input_through(tmp_path):
    with Pipeline(bundle_of(tmp_path, outputs=("x",))) as pipeline:
        assert float(pipeline.run(frame(3))["x"][0]) == 3.0


def test_a_stage_that_cannot_be_opened_is_named_and_the_others_are_closed(tmp_path):
    closed = []

    class Fine:
        def run(self, inputs):
            return []

        def close(self):
            closed.append(True)

    def open_stage(stage, folder, cores):
        if stage.name == "s3":
            raise OSError("no such device")
        return Fine()

    with pytest.raises(RuntimeFault, match=r"stage s3: cannot be opened \(OSError: no such device"):
        Pipeline(two_engines(tmp_path), loaders={"scripted": open_stage})
    assert len(closed) == 3


def test_an_unknown_kind_of_runner_is_refused_by_name(tmp_path):
    with pytest.raises(BundleError, match="stage s0: needs a runner of kind 'scripted'"):
        Pipeline(bundle_of(tmp_path, entry("s0", "cpu0", ["x"], ["y"])))


@pytest.mark.parametrize(
    ("host_run", "options", "built_for"),
    [
        (None, {"triple": "riscv64-linux-gnu"}, "riscv64-linux-gnu"),
        ("measured", {"triple": "riscv64-linux-gnu"}, "riscv64-linux-gnu"),
        (None, {}, "another machine"),
    ],
)
def test_a_stage_for_another_machine_is_refused_before_anything_starts(
    tmp_path, host_run, options, built_for
):
    stage = entry("s0", "cpu0", ["x"], ["y"], host_run=host_run, options=options)
    with pytest.raises(RuntimeFault, match=f"stage s0: is built for {built_for}; this machine is"):
        pipeline_of(bundle_of(tmp_path, stage), counting)


def test_the_weakest_word_among_the_stages_names_the_run(tmp_path):
    stages = [
        entry("s0", "cpu0", ["x"], ["a"]),
        entry("s1", "npu0", ["a"], ["y"], host_run="reference"),
    ]
    pipeline, _ = pipeline_of(bundle_of(tmp_path, *stages), counting)
    with pipeline:
        assert pipeline.word == "reference"


def test_each_engine_is_pinned_to_its_cores(tmp_path):
    core = max(os.sched_getaffinity(0))
    masks = []

    def body(stage, inputs):
        masks.append(os.sched_getaffinity(0))
        return counting(stage, inputs)

    stage = entry("s0", "cpu0", ["x"], ["y"], cores=(core,))
    pipeline, _ = pipeline_of(bundle_of(tmp_path, stage), body)
    before = os.sched_getaffinity(0)
    with pipeline:
        pipeline.run(frame())
        assert pipeline.notes == ()
    assert masks == [{core}]
    assert os.sched_getaffinity(0) == before


def test_cores_that_do_not_exist_become_a_note_and_the_stage_still_runs(tmp_path):
    stage = entry("s0", "cpu0", ["x"], ["y"], cores=(1000,))
    pipeline, _ = pipeline_of(bundle_of(tmp_path, stage), counting)
    with pipeline:
        assert len(pipeline.notes) == 1
        assert "engine cpu0: not pinned to cores 1000" in pipeline.notes[0]
        assert value_of(pipeline.run(frame())) == 1.0


def test_of_cores_that_exist_in_part_the_others_are_noted(tmp_path):
    core = max(os.sched_getaffinity(0))
    stage = entry("s0", "cpu0", ["x"], ["y"], cores=(core, 1000))
    pipeline, _ = pipeline_of(bundle_of(tmp_path, stage), counting)
    with pipeline:
        assert pipeline.notes == (
            f"engine cpu0: of its cores {core}, 1000 only {core} can be used here",
        )
