"""Small float models with weights of ordinary size, and frames for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.model import Model
from edgeweave.compiler.quantize.calibration import Calibration

HEADER = '<ir_version: 10, opset_import: ["": 18]>\n'
SEGMENTER = """
segment (float[1,3,16,16] image) => (float[1,2,16,16] mask, float[1,4] logits)
{
    a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(image, w1, b1)
    b = PRelu(a, slope)
    c = Conv<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(b, w2, b2)
    d = Relu(c)
    e = Conv<kernel_shape=[1,1]>(d, w3)
    f = Concat<axis=1>(d, e)
    mask = ConvTranspose<kernel_shape=[2,2], strides=[2,2]>(f, w4)
    g = GlobalAveragePool(f)
    h = Flatten(g)
    logits = Gemm<transB=1>(h, w5, b5)
}
"""
SHAPES: Mapping[str, Sequence[int]] = {
    "w1": (8, 3, 3, 3), "b1": (8,), "slope": (8, 1, 1), "w2": (8, 8, 3, 3), "b2": (8,),
    "w3": (8, 8, 1, 1), "w4": (16, 2, 2, 2), "w5": (4, 16), "b5": (4,),
}  # fmt: skip


def with_weights(
    text: str, shapes: Mapping[str, Sequence[int]], **given: np.ndarray
) -> onnx.ModelProto:
    """A model from text, with seeded random weights of these shapes, or those that are given."""
    generator = np.random.default_rng(5)
    proto = onnx.parser.parse_model(HEADER + text)
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        array = generator.standard_normal(tuple(shape)) / np.sqrt(fan_in)
        proto.graph.initializer.append(
            numpy_helper.from_array(given.get(name, array).astype(np.float32), name)
        )
    return proto


@pytest.fixture(scope="session")
def weighted() -> Callable[..., onnx.ModelProto]:
    return with_weights


@pytest.fixture(scope="session")
def segmenter() -> Model:
    """A mask of two classes and logits of four, from convolutions, PRelu, Concat and Gemm."""
    return load_model(with_weights(SEGMENTER, SHAPES))


def make_frames(model: Model, count: int = 3) -> Calibration:
    generator = np.random.default_rng(1)
    frames = tuple(
        {s.name: generator.random(tuple(d or 1 for d in s.shape or ())).astype(np.float32)}
        for _ in range(count)
        for s in model.inputs
    )
    return Calibration(frames, tuple(f"{i}.npy" for i in range(count)))


@pytest.fixture(scope="session")
def calibrated() -> Callable[..., Calibration]:
    """Random frames, as if read from a folder."""
    return make_frames


@pytest.fixture
def folder(segmenter: Model, tmp_path: Path) -> Path:
    """A calibration folder for the segmenter."""
    for index, frame in enumerate(make_frames(segmenter).frames):
        np.save(tmp_path / f"{index}.npy", frame["image"])
    return tmp_path


def quiet(phase: str, done: int, total: int, what: str) -> None:
    assert 0 <= done <= total, (phase, what)


@pytest.fixture(scope="session")
def progress() -> Callable[[str, int, int, str], None]:
    return quiet


@pytest.fixture(scope="session")
def run() -> Callable[[onnx.ModelProto, Mapping[str, Any]], list[Any]]:
    """ONNX Runtime's outputs."""
    from edgeweave.compiler.quantize.sessions import Session

    def outputs(proto: onnx.ModelProto, frame: Mapping[str, Any]) -> list[Any]:
        return Session(proto).run(dict(frame))

    return outputs
