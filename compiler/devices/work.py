"""What a profile gives devices to do: regions that are timed in turn, and links."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

from edgeweave.compiler.devices.regions import (
    DeviceRegion,
    Unbuilt,
    build_region,
    control_kernel,
    distinct_regions,
)
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.regions import Regions
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.region import Region

_BATCH = 16  # regions that are timed in turn ...
_BATCH_BYTES = 64 << 20  # ... and what their code, weights and values may take together


@dataclass(frozen=True)
class Batch:
    """Regions of one engine that are timed in turn, and the kernel the device is watched with."""

    regions: tuple[DeviceRegion, ...]
    control: DeviceRegion | None

    @property
    def size(self) -> int:
        """How many things it measures."""
        return len(self.regions)

    @property
    def names(self) -> tuple[str, ...]:
        """What it measures, in words."""
        return tuple(f"{each.region.name} on {each.engine.name}" for each in self.regions)


@dataclass(frozen=True)
class LinkItem:
    """Two CPU engines whose link is measured."""

    a: Engine
    b: Engine

    @property
    def size(self) -> int:
        """How many things it measures."""
        return 1

    @property
    def names(self) -> tuple[str, ...]:
        """What it measures, in words."""
        return (f"hand-over between {self.a.name} and {self.b.name}",)


Item: TypeAlias = Batch | LinkItem


@dataclass(frozen=True)
class Work:
    """All that is to be measured; ``unbuilt`` are regions that could not be built."""

    items: tuple[Item, ...]
    unbuilt: tuple[Unbuilt, ...]
    notes: tuple[str, ...]


def build_work(
    regions: Regions,
    engines: Sequence[Engine],
    board: Board,
    folder: Path,
    progress: Callable[[int, int, str], None],
) -> Work:
    """Build the distinct regions of the model, and a call that computes nothing, for each engine.

    ``folder`` takes what is built. ``progress`` is told the regions done and to do, and the next.
    """
    controls, notes = _build_controls(engines, board, folder)
    todo = [*_todo(empty_call(), engines, board), *_todo(regions, engines, board)]
    built: dict[str, list[DeviceRegion]] = {}
    unbuilt: list[Unbuilt] = []
    for number, (source, region, engine) in enumerate(todo):
        progress(number, len(todo), region.name)
        found = build_region(source, region.index, engine, f"{engine.name}-{number}", folder)
        if isinstance(found, Unbuilt):
            unbuilt.append(found)
        else:
            built.setdefault(engine.name, []).append(found)
    items: list[Item] = [
        Batch(tuple(part), controls.get(name))
        for name, own in built.items()
        for part in _parts(own)
    ]
    items += [LinkItem(a, b) for a, b in combinations(engines, 2)]
    return Work(tuple(items), tuple(unbuilt), tuple(notes))


def _todo(
    source: Regions, engines: Sequence[Engine], board: Board
) -> Iterator[tuple[Regions, Region, Engine]]:
    for region, engine in distinct_regions(source.graph.regions, engines, board):
        yield source, region, engine


def _build_controls(
    engines: Sequence[Engine], board: Board, folder: Path
) -> tuple[dict[str, DeviceRegion], list[str]]:
    """The control kernel for each kind of engine, by the engine's name, and what went wrong."""
    controls: dict[str, DeviceRegion] = {}
    notes = []
    for source, region, engine in _todo(control_kernel(), engines, board):
        found = build_region(source, region.index, engine, f"{engine.name}-control", folder)
        if isinstance(found, Unbuilt):
            notes.append(f"{engine.name}: there is no control kernel ({found.reason})")
        else:
            controls[engine.name] = found
    return controls, notes


def _parts(regions: Sequence[DeviceRegion]) -> Iterator[list[DeviceRegion]]:
    """Batches of so many regions, or of so many bytes."""
    part: list[DeviceRegion] = []
    size = 0
    for region in regions:
        if part and (len(part) == _BATCH or size + region.nbytes > _BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(region)
        size += region.nbytes
    if part:
        yield part
