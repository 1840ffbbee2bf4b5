"""Stages on a device: real libraries, opened, fed and run over TVM's RPC."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from onnx import helper, numpy_helper

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.pack import BuiltStage, pack
from edgeweave.compiler.regions import find_regions
from edgeweave.compiler.split import cut_stage
from edgeweave.runtime.bundle import open_bundle
from edgeweave.targets.backend import Slot
from edgeweave.targets.devices.stages import files_to_send, open_request
from edgeweave.targets.devices.upload import Uploader

tvm = pytest.importorskip("tvm", reason="TVM is not installed")

CORES = sorted(os.sched_getaffinity(0))
FRAME = np.random.default_rng(1).standard_normal((1, 3, 16, 16), np.float32)


def write_model(path):
    """Two convolutions, a pooling and a product, with weights drawn at random."""
    generator = np.random.default_rng(0)
    weights = {
        "w0": generator.standard_normal((8, 3, 3, 3), np.float32) / 5,
        "w1": generator.standard_normal((8, 8, 3, 3), np.float32) / 8,
        "w2": generator.standard_normal((8, 10), np.float32),
        "b2": generator.standard_normal(10, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, FRAME.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path
    )
    return path


def reference(path, frame):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": frame})[0]


def compile_bundle(builders, path, destination, cuts, engines):
    """A bundle of the model, cut into a stage for each engine."""
    model = load_model(path)
    regions = find_regions(model)
    count = len(regions.graph.regions)
    bounds = [0, *cuts, count]
    stages = []
    for index, engine in enumerate(engines):
        slot = Slot(engine.name, "cpu")
        source = cut_stage(regions, f"s{index}", slot, range(bounds[index], bounds[index + 1]))
        artifact = build_stage(source, engine, destination / f"s{index}")
        stage = source.stage
        stages.append(
            BuiltStage(
                stage.name, slot, engine.cores, stage.inputs, stage.outputs, 1e-3, artifact, b""
            )
        )
    content = builders.content(stages, model.inputs, model.outputs)
    return open_bundle(pack(content, destination / "made.bundle"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def two_stages(builders, model, tmp_path_factory):
    """The model cut after its first convolution, on the first and the last core."""
    engines = [builders.engine("cpu0", CORES[:1]), builders.engine("cpu1", CORES[-1:])]
    folder = tmp_path_factory.mktemp("two")
    with compile_bundle(builders, model, folder, [1], engines) as bundle:
        yield bundle


def open_all(client, bundle):
    """Send and open the bundle's stages; the notes."""
    Uploader(files_to_send(bundle)).run(client.session)
    return client.ask("open", open_request(bundle.manifest, check_features=True))["notes"]


def run(client, frame, frames=1, warmup=0):
    """Feed and run a bundle of the model; its output, and the rows of times."""
    assert client.ask("set_input", "x", frame.tobytes()) == {}
    times = np.frombuffer(client.ask("run", frames, warmup), "<i8").reshape(frames, -1)
    return np.frombuffer(client.ask("get_output", "y"), "<f4").reshape(1, 10), times


def assert_computes(client, model, frame=FRAME):
    wanted = reference(model, frame)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(run(client, frame)[0], wanted, rtol=1e-4, atol=1e-4)


def process_of(program):
    (session,) = psutil.Process(program.process.pid).children()
    return session


def test_two_stages_that_pass_a_value_on_compute_what_onnx_runtime_computes(
    client, two_stages, model
):
    assert open_all(client, two_stages) == []
    assert_computes(client, model)
    assert_computes(client, model, FRAME[..., ::-1].copy())


def test_a_frame_takes_as_long_as_its_stages_and_what_is_between_them(client, two_stages):
    open_all(client, two_stages)
    _output, times = run(client, FRAME, frames=5, warmup=2)
    assert times.shape == (5, 3)
    assert (times[:, :2] > 0).all()
    assert (times[:, 2] >= times[:, :2].sum(axis=1)).all()


def test_stages_on_the_same_cores_share_a_thread(builders, program, model, tmp_path, connect):
    engine = builders.engine("cpu0", CORES[:1])
    with (
        compile_bundle(builders, model, tmp_path, [1, 2], [engine] * 3) as bundle,
        connect(program) as client,
    ):
        before = process_of(program).num_threads()
        assert open_all(client, bundle) == []
        assert process_of(program).num_threads() == before + 1
        assert_computes(client, model)


@pytest.mark.skipif(len(CORES) < 2, reason="this machine has one core")
def test_a_stage_with_several_cores_has_a_thread_on_each(
    builders, program, model, tmp_path, connect
):
    engine = builders.engine("cpu0", tuple(CORES[:2]))
    with (
        compile_bundle(builders, model, tmp_path, [], [engine]) as bundle,
        connect(program) as client,
    ):
        assert open_all(client, bundle) == []
        assert_computes(client, model)
        process = process_of(program)
        pinned = [
            os.sched_getaffinity(thread.id)
            for thread in process.threads()
            if thread.id != process.pid
        ]
    # the stage's own thread may use both, and its helper has one to itself
    assert sorted(map(sorted, pinned)) == [CORES[:2], [CORES[1]]]


@pytest.mark.parametrize(
    ("cores", "note"),
    [
        ([700], "core 700 does not exist here; not pinned"),
        ([703, 701, 700, 702, 900], "cores 700-703, 900 do not exist here; not pinned"),
        ([CORES[0], 700], f"core 700 does not exist here; pinned to core {CORES[0]}"),
    ],
    ids=["one", "several", "some"],
)
def test_cores_that_do_not_exist_are_told(client, two_stages, model, cores, note):
    Uploader(files_to_send(two_stages)).run(client.session)
    request = open_request(two_stages.manifest, check_features=True)
    for stage in request["stages"]:
        stage["cores"] = cores
    assert client.ask("open", request) == {"notes": [note]}
    assert_computes(client, model)


def test_missing_features_are_named_before_any_library_is_mapped(program, client, two_stages):
    Uploader(files_to_send(two_stages)).run(client.session)
    request = open_request(two_stages.manifest, check_features=True)
    request["stages"][1]["features"] = ["one-of-mars", "two-of-mars"]
    reason = client.refusal("missing-features", "open", request)
    assert reason == "stage s1 needs what this CPU does not have: one-of-mars, two-of-mars"
    mapped = Path(f"/proc/{process_of(program).pid}/maps").read_text()
    assert request["stages"][0]["library"] not in mapped
    request["stages"][0]["library"] = "0" * 64  # a file that is not even there
    client.refusal("missing-features", "open", request)
    client.refusal("not-open", "run", 1, 0)


def test_features_are_not_checked_when_that_is_asked_for(program, client, two_stages):
    Uploader(files_to_send(two_stages)).run(client.session)
    request = open_request(two_stages.manifest, check_features=False)
    request["stages"][1]["features"] = ["one-of-mars"]
    assert client.ask("open", request) == {"notes": []}
    mapped = Path(f"/proc/{process_of(program).pid}/maps").read_text()
    assert request["stages"][0]["library"] in mapped


def test_features_that_this_cpu_has_are_no_obstacle(client, two_stages):
    Uploader(files_to_send(two_stages)).run(client.session)
    request = open_request(two_stages.manifest, check_features=True)
    request["stages"][0]["features"] = list(client.session.identity.features)
    assert client.ask("open", request) == {"notes": []}


def test_open_stages_outlive_their_files(program, client, two_stages, model):
    open_all(client, two_stages)
    for file in (program.log.parent / "state" / "store").iterdir():
        file.unlink()
    assert_computes(client, model)
    request = open_request(two_stages.manifest, check_features=True)
    assert "was not uploaded" in client.refusal("unknown-file", "open", request)


def test_the_state_of_the_device(client):
    state = client.ask("state")
    assert [cpu["core"] for cpu in state["cpus"]] == list(range(os.cpu_count()))
    assert state["free_mib"] > 0
    assert state["temperature_c"] is None or 0 < state["temperature_c"] < 200


@pytest.mark.emulated
def test_code_for_another_architecture_runs_on_an_emulated_device(
    builders, model, aarch64_emulator, aarch64_kit, tmp_path, connect
):
    from edgeweave.targets.kit.emulate import emulated_device

    engine = replace(
        builders.engine("cpu0", (0,)),
        llvm_target={"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a53"},
    )
    options = ["--port", "0", "--state", str(tmp_path / "state")]
    with (
        compile_bundle(builders, model, tmp_path, [1], [engine] * 2) as bundle,
        emulated_device(
            aarch64_emulator, aarch64_kit, tmp_path / "log", options, cpu="cortex-a53"
        ) as program,
        connect(program) as client,
    ):
        Uploader(files_to_send(bundle)).run(client.session)
        request = open_request(bundle.manifest, check_features=True)
        request["stages"][0]["features"] = ["dotprod", "fullfp16", "neon"]
        reason = client.refusal("missing-features", "open", request)
        assert reason == "stage s0 needs what this CPU does not have: dotprod, fullfp16"
        assert open_all(client, bundle) == []
        assert_computes(client, model)
        # an error inside TVM's library reaches us as an error there too
        request = open_request(bundle.manifest, check_features=True)
        for specs in (request["inputs"], request["stages"][0]["inputs"]):
            specs[0]["shape"] = [1, 3, 8, 8]
        assert client.ask("open", request) == {"notes": []}
        client.ask("set_input", "x", bytes(4 * 3 * 64))
        assert "stage s0: " in client.refusal("failed", "run", 1, 0)
        assert "free_mib" in client.ask("state")
