"""Published networks, one stage each on Ethos-U NPUs: Vela's estimate, and whether all bits agree.

Each network (scripts/build_models.py, random weights) is quantised with random frames. All regions
between its QuantizeLinear and its DequantizeLinear become one stage, which Vela compiles for each
accelerator. The stage's outputs by LiteRT's reference kernels are compared with our integer
arithmetic, bit for bit, and with ONNX Runtime on the QDQ model, in steps. Times are
vendor-estimated; a published one stands beside them where there is one, and nothing is fitted.

  python scripts/bench_ethos_u.py [NETWORK...] [--accelerator NAME]...
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from build_models import build

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.check_region import reference_samples
from edgeweave.compiler.choose import stage_of
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.pack import stage_entry
from edgeweave.compiler.quantize import quantized_model
from edgeweave.compiler.quantize.settings import QuantizeSettings
from edgeweave.compiler.regions import Regions, find_regions
from edgeweave.compiler.split import StageSource, cut_stage
from edgeweave.runtime.runners import find_loader
from edgeweave.targets.backend import Artifact, Slot, StageModel
from edgeweave.targets.board import Engine
from edgeweave.targets.board_file import load_board
from edgeweave.targets.npu_ethos_u.expectation import expectation
from edgeweave.targets.rules import find_refusal

FRAMES = 4
TINY = ("resnet8", "ds_cnn", "mobilenet_v1_025_96", "autoencoder")
LARGE = ("mobilenet_v2_224", "resnet50_224")
SETTINGS = {
    "ethos-u55-128": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65-256": ("Ethos_U65_High_End", "Dedicated_Sram_384KB"),
    "ethos-u85-512": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
# ms on the i.MX 93, whose NPU is an Ethos-U65-256: NXP eIQ model zoo (commit 58c2b00)
PUBLISHED = {
    ("mobilenet_v2_224", "ethos-u65-256"): 3.46,
    ("resnet50_224", "ethos-u65-256"): 28.0,
}


@dataclass(frozen=True)
class Row:
    """A network on an accelerator; ``differing`` counts values of ``values`` in ``calls`` calls.

    ``steps`` is the largest difference from ONNX Runtime, in quantisation steps.
    """

    network: str
    accelerator: str
    regions: int
    npu_operators: int
    cpu_operators: int
    cycles: int
    estimated_ms: float
    published_ms: float | None
    calls: int
    values: int
    differing: int
    steps: int
    compile_s: float


def accelerated(accelerator: str) -> Engine:
    """The i.MX 93's NPU with another accelerator in its place."""
    system, memory = SETTINGS[accelerator]
    vendor = {"accelerator": accelerator, "system_config": system, "memory_mode": memory}
    return replace(load_board("imx93").engine("npu"), vendor=vendor, memory_mib=None)


def quantised(network: str, folder: Path) -> Regions:
    """The regions of the network in int8, calibrated with random frames."""
    proto = build(network)
    dims = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    random = np.random.default_rng(0)
    for number in range(FRAMES):
        np.save(folder / f"{number}.npy", random.random(dims, np.float32))
    model = load_model(proto)
    settings = QuantizeSettings("int8", folder)
    return find_regions(quantized_model(model, settings, (), lambda *_: None)[0])


def whole(regions: Regions, engine: Engine) -> StageSource:
    """All regions that the NPU takes, as one stage."""
    members = [
        region.index
        for region in regions.graph.regions
        if find_refusal(region, engine, "npu_ethos_u") is None
    ]
    return cut_stage(regions, "s0", Slot(engine.name, "npu_ethos_u"), members)


def measure(network: str, accelerators: Iterable[str]) -> Iterator[Row]:
    """A row for each accelerator."""
    with tempfile.TemporaryDirectory(prefix="edgeweave-") as name:
        folder = Path(name)
        regions = quantised(network, folder)
        for accelerator in accelerators:
            engine = accelerated(accelerator)
            source = whole(regions, engine)
            started = time.perf_counter()
            artifact = build_stage(source, engine, folder / accelerator)
            yield _row(network, accelerator, source, artifact, time.perf_counter() - started)


def _row(
    network: str, accelerator: str, source: StageSource, artifact: Artifact, seconds: float
) -> Row:
    if artifact.estimate is None:
        raise AssertionError("Vela states a figure for whatever it compiles")
    details = artifact.estimate.details
    calls = list(_calls(source.stage, artifact))
    return Row(
        network=network,
        accelerator=accelerator,
        regions=len(source.stage.regions),
        npu_operators=details["npu_ops"],
        cpu_operators=details["cpu_ops"],
        cycles=details["total_cycles"],
        estimated_ms=artifact.estimate.seconds * 1e3,
        published_ms=PUBLISHED.get((network, accelerator)),
        calls=len(calls),
        values=sum(values for values, _, _ in calls),
        differing=sum(differing for _, differing, _ in calls),
        steps=max(steps for _, _, steps in calls),
        compile_s=seconds,
    )


def _calls(stage: StageModel, artifact: Artifact) -> Iterator[tuple[int, int, int]]:
    """Of each call: values, how many are not the integer arithmetic's, steps from ONNX Runtime."""
    entry = stage_entry(stage_of(stage, load_board("imx93").engine("npu"), artifact))
    blob = (artifact.folder / artifact.options["model"]).read_bytes()
    names = [spec.name for spec in stage.inputs]
    with closing(find_loader(entry, {})(entry, artifact.folder, ())) as runner:
        for sample in reference_samples(stage.model):
            given = dict(zip(names, sample.inputs, strict=True))
            expected = expectation(blob, artifact.options, given)
            made = runner.run(sample.inputs)
            differing = steps = 0
            for spec, got, wanted in zip(stage.outputs, made, sample.outputs, strict=True):
                differing += int(np.count_nonzero(got != expected[spec.name]))
                steps = max(steps, int(np.abs(got.astype(int) - wanted).max()))
            yield sum(value.size for value in made), differing, steps


def line(row: Row) -> str:
    """The row as a line of the table."""
    cells = (
        row.network,
        row.accelerator,
        f"{row.npu_operators} / {row.cpu_operators}",
        f"{row.cycles:,}",
        f"{row.estimated_ms:.3f}",
        "" if row.published_ms is None else f"{row.published_ms:g}",
        f"{row.differing} of {row.values:,}",
        str(row.steps),
        f"{row.compile_s:.1f}",
    )
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| network | accelerator | operators on NPU / CPU | cycles | ms, vendor-estimated "
    "| ms, published | reference against integers, values differing | steps from ONNX Runtime | s |"
)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("networks", nargs="*", default=[*TINY, *LARGE], metavar="NETWORK")
    parser.add_argument("--accelerator", action="append", choices=SETTINGS)
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    given = parser.parse_args()
    print(HEAD, "|---" * (HEAD.count("|") - 1) + "|", sep="\n", flush=True)
    rows = []
    for network in given.networks:
        for row in measure(network, given.accelerator or SETTINGS):
            rows.append(row)
            print(line(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
