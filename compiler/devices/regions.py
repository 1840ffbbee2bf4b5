"""The regions of a model built for the CPUs of a board, each as a stage of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import onnx

from edgeweave.compiler.build import build_stage
from edgeweave.compiler.check_region import CheckTask, with_random_weights
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.pack import BuiltStage, stage_entry
from edgeweave.compiler.regions import Regions, find_regions
from edgeweave.partition.prediction.measurements import MeasureKey
from edgeweave.runtime.errors import EdgeweaveError
from edgeweave.runtime.machine import triple_architecture
from edgeweave.runtime.manifest import FORMAT_VERSION, FileEntry, Manifest, StageEntry
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import StageModel
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.devices.faults import MissingFeatures, WrongArchitecture
from edgeweave.targets.devices.identity import Identity
from edgeweave.targets.devices.upload import File
from edgeweave.targets.errors import TargetError
from edgeweave.targets.region import Region
from edgeweave.targets.rules import find_refusal

BACKEND = "cpu"
# What a device is measured by again and again: 4 million operations, which take long enough for
# the clock and short enough to be repeated.
_CONTROL = (
    '<ir_version: 8, opset_import: ["": 17]> '
    "g (float[128, 128] x) => (float[128, 128] y) {y = MatMul(x, x)}"
)

# (what became of it, regions done, regions to do, the next one's name)
Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class DeviceRegion:
    """A distinct region built for an engine, under a name that is its own within the profile.

    ``stage`` is the region with random weights, ``entry`` how the device opens it.
    """

    name: str
    region: Region
    engine: Engine
    stage: StageModel
    entry: StageEntry
    folder: Path
    files: tuple[FileEntry, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes on a device while it is open, but for what it computes with."""
        tensors = (*self.entry.inputs, *self.entry.outputs)
        return sum(f.size for f in self.files) + sum(spec.nbytes or 0 for spec in tensors)

    @property
    def is_empty_call(self) -> bool:
        """Whether it is the region that computes nothing."""
        return self.region.digest == empty_call().graph.regions[0].digest


@dataclass(frozen=True)
class Unbuilt:
    """A region that could not be built for an engine, and why."""

    region: Region
    engine: Engine
    reason: str


@lru_cache(maxsize=1)
def control_kernel() -> Regions:
    """A model of one region that is measured to see whether the device stays as it is."""
    return find_regions(load_model(onnx.parser.parse_model(_CONTROL), {}, ()))


def profiled_engines(board: Board) -> tuple[Engine, ...]:
    """The board's CPU engines that TVM compiles for; TargetError when there is none.

    Raises TargetError as well where they are of different architectures: no device is both.
    """
    found = tuple(e for e in board.engines if e.kind == "cpu" and BACKEND in e.backends)
    if not found:
        raise TargetError(
            f"board {board.name}",
            f"has no CPU engine with the {BACKEND} backend, and nothing else runs on a device yet",
            f'Add "{BACKEND}" to the backends of its CPU engines',
        )
    names = sorted({triple_architecture(str(e.llvm_target["mtriple"])) for e in found})
    if len(names) > 1:
        raise TargetError(
            f"board {board.name}",
            f"its CPU engines are of several architectures: {', '.join(names)}",
            "Describe each as a board of its own",
        )
    return found


def check_device(board: Board, identity: Identity, subject: str) -> None:
    """The fault when code for the board's CPUs cannot run on the device that it is tried on.

    WrongArchitecture or MissingFeatures; ``subject`` names the device. TargetError for a CPU that
    LLVM does not know.
    """
    from edgeweave.targets.cpu.target import find_features

    for engine in profiled_engines(board):
        arch = triple_architecture(str(engine.llvm_target["mtriple"]))
        if arch != identity.arch:
            raise WrongArchitecture(
                subject,
                f"is {identity.arch}, and the board's CPUs are {arch}",
                f"Name a board whose CPUs are {identity.arch}, or another device",
            )
        missing = sorted(set(find_features(engine)) - set(identity.features))
        if missing:
            raise MissingFeatures(
                subject,
                f"its CPU lacks {', '.join(missing)}, which code for {engine.name} of "
                f"{board.name} uses",
                "Name a board whose mcpu and mattr are this device's",
            )


def distinct_regions(
    regions: Iterable[Region], engines: Sequence[Engine], board: Board
) -> Iterator[tuple[Region, Engine]]:
    """Each distinct region once per kind of engine, where no static rule speaks against it."""
    seen: set[MeasureKey] = set()
    for region in regions:
        for engine in engines:
            key = MeasureKey.of(region, engine, BACKEND, board)
            if key not in seen and find_refusal(region, engine, BACKEND) is None:
                seen.add(key)
                yield region, engine


def build_region(
    regions: Regions, index: int, engine: Engine, name: str, folder: Path
) -> DeviceRegion | Unbuilt:
    """Build a region as `compile` would, into a folder of its own below ``folder``."""
    region = regions.graph.regions[index]
    task = CheckTask(region, regions.models[index], engine, (BACKEND,), timed=False)
    source = with_random_weights(task)
    try:
        artifact = build_stage(source, engine, folder / name)
    except EdgeweaveError as error:
        return Unbuilt(region, engine, error.reason)
    stage = source.stage
    built = BuiltStage(
        name=name,
        slot=stage.slot,
        cores=engine.cores,
        inputs=tuple(_within(name, spec) for spec in stage.inputs),
        outputs=tuple(_within(name, spec) for spec in stage.outputs),
        predicted_s=0.0,
        artifact=artifact,
        model=b"",
    )
    entry = stage_entry(built)
    files = tuple(_file_entry(entry, artifact.folder, each) for each in artifact.files)
    return DeviceRegion(name, region, engine, stage, entry, artifact.folder, files)


def _within(name: str, spec: ValueSpec) -> ValueSpec:
    """The value under a name that no other region of one session has."""
    return replace(spec, name=f"{name}.{spec.name}")


def _file_entry(entry: StageEntry, folder: Path, name: str) -> FileEntry:
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(f"{entry.folder}/{name}", digest, file.tell())


def open_together(regions: Sequence[DeviceRegion], board: Board) -> Manifest:
    """What a device opens to run these regions one after the other, each on inputs of its own."""
    return Manifest(
        format_version=FORMAT_VERSION,
        model="profile",
        model_digest="",
        board=board.name,
        board_identity=board.identity,
        inputs=tuple(spec for region in regions for spec in region.entry.inputs),
        outputs=tuple(spec for region in regions for spec in region.entry.outputs),
        stages=tuple(region.entry for region in regions),
        files=tuple(entry for region in regions for entry in region.files),
        predicted_latency_s=0.0,
        predicted_interval_s=0.0,
        budget_s=None,
        reference=None,
        created_with={},
    )


def files_of(regions: Iterable[DeviceRegion]) -> list[File]:
    """The files that a device needs to open these regions."""
    return [
        File(entry.sha256, entry.size, region.folder / entry.path.rpartition("/")[2])
        for region in regions
        for entry in region.files
    ]
