"""The networks do the work that is published of their architectures, and run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeweave.compiler.graph import view_graph
from edgeweave.compiler.work import flops

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_models.py"
# Millions of multiply-adds and of parameters, as published. EfficientNet-Lite0's authors count 407,
# activations and normalisation among them.
PUBLISHED = {
    "autoencoder": (0.264, 0.268),
    "ds_cnn": (2.66, 0.0238),
    "efficientnet_lite0_224": (390, 4.65),
    "mobilenet_v1_025_96": (7.49, 0.222),
    "mobilenet_v1_025_128": (13.6, 0.470),
    "mobilenet_v1_224": (569, 4.24),
    "mobilenet_v2_224": (300, 3.5),
    "resnet8": (12.5, 0.0787),
    "resnet50_224": (4100, 25.6),
    "resnet50_v2_224": (3489, 25.6),
}
SMALL = ("autoencoder", "ds_cnn", "mobilenet_v1_025_96", "resnet8")


@pytest.fixture(scope="module")
def models() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_models", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_network_has_a_published_count(models: ModuleType) -> None:
    assert set(models.NETWORKS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_the_published_operations_and_parameters(
    models: ModuleType, name: str
) -> None:
    model = models.build(name)
    view = view_graph(model)
    macs = sum(flops(view, n) for n in model.graph.node if n.op_type in ("Conv", "Gemm")) / 2
    parameters = sum(np.prod(tensor.dims) for tensor in model.graph.initializer)
    assert macs / 1e6 == pytest.approx(PUBLISHED[name][0], rel=0.015)
    # up to 5 % are those of the normalisations that are folded away
    assert parameters / 1e6 == pytest.approx(PUBLISHED[name][1], rel=0.06)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_runs_and_its_values_stay_in_range(models: ModuleType, name: str) -> None:
    model = models.build(name)
    model.graph.output.extend(model.graph.value_info)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    given = session.get_inputs()[0]
    x = np.random.default_rng(1).standard_normal(given.shape).astype(np.float32)
    for spec, value in zip(session.get_outputs(), session.run(None, {given.name: x}), strict=True):
        assert list(value.shape) == spec.shape
        assert 1e-3 < np.std(value) < 10, spec.name


def test_weights_follow_the_seed_alone(models: ModuleType) -> None:
    assert models.build("resnet8", 3) == models.build("resnet8", 3)
    assert models.build("resnet8", 3) != models.build("resnet8", 4)


@pytest.mark.parametrize(
    ("size", "kernel", "symmetric", "pads"),
    [
        ((224, 224), 3, False, [0, 0, 1, 1]),
        ((49, 10), (10, 4), False, [4, 1, 5, 1]),
        ((224, 224), 7, True, [3, 3, 3, 3]),
    ],
)
def test_a_stride_pads_at_the_end_as_tensorflow_does_or_alike_as_pytorch_does(
    models: ModuleType, size: tuple[int, int], kernel: Any, symmetric: bool, pads: list[int]
) -> None:
    net = models.Network("n", (1, 3, *size), 0)
    value = net.conv(net.input, 4, kernel, 2, symmetric=symmetric)
    attributes = {a.name: a for a in net.nodes[0].attribute}
    assert list(attributes["pads"].ints) == pads
    assert net.shapes[value] == (1, 4, *(-(-n // 2) for n in size))
    net.finish(value)  # the shape is ONNX's own


def test_the_script_writes_what_build_returns(models: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "ds_cnn", "autoencoder", "-o", str(tmp_path / "new")]
    done = subprocess.run([*command, "--seed", "5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(tmp_path / "new" / f"{name}.onnx") for name in ("ds_cnn", "autoencoder")
    ]
    assert onnx.load(tmp_path / "new" / "ds_cnn.onnx") == models.build("ds_cnn", 5)


def test_an_unknown_network_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "resnet9", "-o", str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "resnet9" in done.stderr
    assert "resnet8" in done.stderr
    assert not (tmp_path / "new").exists()
