"""The networks that onnx ships without their weights: through the whole flow, on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeweave.compiler.pipeline import Job, compile_model
from edgeweave.partition.plan import Request
from edgeweave.runtime.bundle import open_bundle
from edgeweave.runtime.compare import Tolerance, compare
from edgeweave.runtime.pipeline import Pipeline

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
QUICK = ("squeezenet",)
REST = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "vgg19",
    "zfnet512",
)


def shipped_input(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The input that onnx's runner makes for these models: 0, 1/n, 2/n and so on."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    feeds = {}
    for info in proto.graph.input:
        if info.name not in weights:
            shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            feeds[info.name] = (np.arange(count).reshape(shape) / count).astype(np.float32)
    return feeds


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in REST)]
)
def test_a_light_model_compiles_for_host_and_gives_its_shipped_output(name, tmp_path):
    path = DATA / "light" / f"light_{name}.onnx"
    proto = onnx.load(path)
    wanted = numpy_helper.to_array(
        onnx.TensorProto.FromString((DATA / "light" / f"light_{name}_output_0.pb").read_bytes())
    )
    limits = json.loads((DATA / "real" / f"test_{name}" / "data.json").read_text())
    job = Job(path, request=Request(time_limit_s=2.0))
    compiled = compile_model(job, tmp_path / "light.bundle", reference=False)
    with open_bundle(compiled.bundle) as bundle, Pipeline(bundle) as pipeline:
        results = pipeline.run(shipped_input(proto))
    (output,) = proto.graph.output
    tolerance = Tolerance(limits["atol"], limits["rtol"])
    assert compare(output.name, results[output.name], wanted, tolerance).mismatch == ""
