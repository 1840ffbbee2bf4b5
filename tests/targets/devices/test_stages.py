"""Stages of a bundle on a real device: opened, fed, run, timed; and what is refused before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import parser

from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.errors import BundleError, InputError
from edgeweave.runtime.pipeline import Pipeline
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import DeviceFailure
from edgeweave.targets.devices.session import open_session
from edgeweave.targets.devices.stages import (
    DeviceStages,
    Times,
    files_to_send,
    open_request,
    stage_files,
)
from edgeweave.targets.devices.upload import Uploader

FRAME = {"x": np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)}


@pytest.fixture
def bundle(device_bundle):
    with open_bundle(device_bundle) as opened:
        yield opened


@pytest.fixture
def session(start_device):
    device = start_device()
    with open_session(Address(device.host, device.port)) as opened:
        yield opened


@pytest.fixture
def stages(session, bundle):
    """The small bundle's stages, open on a device."""
    Uploader(files_to_send(bundle)).run(session)
    return DeviceStages(session, bundle.manifest, check_features=True)


def with_options(manifest, **options):
    """The manifest with other options of its first stage."""
    first, *others = manifest.stages
    return replace(manifest, stages=(replace(first, options={**first.options, **options}), *others))


def test_the_request_names_content_shapes_and_cores(bundle):
    manifest = bundle.manifest
    request = open_request(manifest, check_features=True)
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    first, second = request["stages"]
    assert first["library"] == digests["stages/s0-a-cpu/stage.so"]
    assert first["weights"] == digests["stages/s0-a-cpu/weights.bin"]
    assert [weight["name"] for weight in first["weights_index"]] == ["w"]
    assert (second["library"], second["weights"]) == (digests["stages/s1-b-cpu/stage.so"], None)
    assert second["weights_index"] == []
    assert (first["function"], first["cores"], second["cores"]) == ("main", [0], [1])
    x = {"name": "x", "dtype": "float32", "shape": [2, 8]}
    assert request["inputs"] == [x] == first["inputs"]
    assert request["outputs"] == ["y"]
    assert request["check_features"] is True
    assert open_request(manifest, check_features=False)["check_features"] is False


def test_the_features_of_a_stage_are_passed_on(bundle):
    manifest = with_options(bundle.manifest, features=["avx2", "fma"])
    features = [
        stage["features"] for stage in open_request(manifest, check_features=True)["stages"]
    ]
    assert features[0] == ["avx2", "fma"]


def test_only_what_stages_run_from_is_sent(bundle):
    sent = {file.path.relative_to(bundle.root).as_posix() for file in files_to_send(bundle)}
    assert sent == {
        "stages/s0-a-cpu/stage.so", "stages/s0-a-cpu/weights.bin", "stages/s1-b-cpu/stage.so",
    }  # fmt: skip
    assert all(file.path.stat().st_size == file.size for file in files_to_send(bundle))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"function": None}, "do not name a function"),
        ({"weights": [{"name": "w"}]}, "do not name a function, weights and their file"),
        ({"weights_file": "other.bin"}, "other.bin, not all listed"),
        ({"weights_file": None}, "weights and their file"),
    ],
)
def test_unsound_options_are_refused(bundle, options, told):
    with pytest.raises(BundleError, match=told) as caught:
        open_request(with_options(bundle.manifest, **options), check_features=True)
    assert caught.value.subject == "stage s0-a-cpu"


def test_a_stage_without_its_library_is_refused(bundle):
    manifest = bundle.manifest
    files = tuple(f for f in manifest.files if not f.path.endswith("s0-a-cpu/stage.so"))
    with pytest.raises(BundleError, match="stage s0-a-cpu"):
        stage_files(replace(manifest, files=files))


@pytest.mark.parametrize(
    ("kind", "shape"), [("tensor(float)", (None, 8)), ("seq(tensor(float))", None)]
)
def test_a_value_that_is_no_fixed_tensor_is_refused(bundle, kind, shape):
    manifest = bundle.manifest
    (x,) = manifest.inputs
    odd = replace(manifest, inputs=(replace(x, type=kind, shape=shape),))
    with pytest.raises(BundleError, match=r"value 'x'.*--shape"):
        open_request(odd, check_features=True)


def test_a_device_computes_what_this_machine_does(stages, bundle):
    with Pipeline(bundle) as pipeline:
        expected = pipeline.run(FRAME)
    stages.set_inputs(FRAME)
    times = stages.run(3, limit_s=60)
    np.testing.assert_allclose(stages.outputs()["y"], expected["y"], rtol=1e-6, atol=1e-6)
    assert set(times.stages) == {"s0-a-cpu", "s1-b-cpu"}
    assert len(times.frames) == 3
    for frame, *parts in zip(times.frames, *times.stages.values(), strict=True):
        assert all(part > 0 for part in parts)
        assert sum(parts) <= frame + 1e-9


def test_the_frame_that_was_set_last_is_run(stages):
    results = []
    for factor in (1, -1):
        stages.set_inputs({"x": FRAME["x"] * np.float32(factor)})
        stages.run(1, limit_s=60)
        results.append(stages.outputs()["y"])
    assert not np.array_equal(*results)


def test_a_frame_of_another_shape_never_leaves_this_machine(stages):
    with pytest.raises(InputError, match="expected shape 2x8, got 2x9"):
        stages.set_inputs({"x": np.zeros((2, 9), np.float32)})
    stages.set_inputs(FRAME)
    assert stages.run(1, limit_s=60).frames


def test_running_before_an_input_is_set_is_the_device_s_to_refuse(stages):
    with pytest.raises(DeviceFailure, match="input 'x' was not set"):
        stages.run(1, limit_s=60)
    with pytest.raises(DeviceFailure, match="no frame"):
        stages.outputs()
    stages.set_inputs(FRAME)
    assert stages.run(1, limit_s=60).frames


def test_stages_whose_files_were_not_sent_cannot_be_opened(session, bundle):
    with pytest.raises(DeviceFailure, match="was not uploaded"):
        DeviceStages(session, bundle.manifest, check_features=True)


def test_cores_that_the_device_does_not_have_are_told(session, bundle):
    manifest = bundle.manifest
    first, second = manifest.stages
    far = replace(manifest, stages=(replace(first, cores=(1000,)), second))
    Uploader(files_to_send(bundle)).run(session)
    opened = DeviceStages(session, far, check_features=True)
    assert any("1000" in note for note in opened.notes)
    opened.set_inputs(FRAME)
    assert opened.run(1, limit_s=60).frames


def test_the_state_has_every_core_and_says_null_where_it_cannot_read(stages):
    state = stages.state()
    assert [core.core for core in state.cores] == list(range(len(state.cores)))
    assert state.cores
    assert state.temperature_c is None or -50 < state.temperature_c < 150
    assert state.free_mib is not None


TYPES = """<ir_version: 10, opset_import: ["": 18]>
g (float16[4] h, int8[4] i, bool[4] b, int64 n) => (float16[4] y, int8[4] j, bool[4] c, int64 m) {
  y = Add(h, h) j = Add(i, i) c = Not(b) m = Add(n, n)
}"""


def test_values_of_other_types_and_scalars_arrive_and_return(session, compile_stages, tmp_path):
    model = tmp_path / "types.onnx"
    model.write_bytes(parser.parse_model(TYPES).SerializeToString())
    frame = {
        "h": np.array([1, 2, 3, -4], np.float16),
        "i": np.array([1, 2, 3, -4], np.int8),
        "b": np.array([True, False, True, True]),
        "n": np.array(1 << 40, np.int64),
    }
    with open_bundle(compile_stages(tmp_path / "t.bundle", model)) as bundle:
        Uploader(files_to_send(bundle)).run(session)
        opened = DeviceStages(session, bundle.manifest, check_features=True)
        opened.set_inputs(frame)
        opened.run(1, limit_s=60)
        outputs = opened.outputs()
    assert outputs["y"].tolist() == [2, 4, 6, -8]
    assert outputs["j"].tolist() == [2, 4, 6, -8]
    assert outputs["c"].tolist() == [False, True, False, False]
    assert (outputs["m"].shape, outputs["m"].item()) == ((), 1 << 41)
    assert [outputs[n].dtype.name for n in "yjcm"] == ["float16", "int8", "bool", "int64"]


def test_times_of_several_calls_become_one(stages):
    parts = [Times((1.0,), {"s": (0.5,)}), Times((2.0, 3.0), {"s": (1.0, 1.5)})]
    assert Times.join(parts) == Times((1.0, 2.0, 3.0), {"s": (0.5, 1.0, 1.5)})
