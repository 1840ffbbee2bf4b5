"""What a profile of a device stores beside the times of regions: links, and the device itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.targets.board import Board, Engine, Link, Quantity

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class LinkMeasurement:
    """How values pass between two CPU engines of a board, as a device took it.

    ``latency_us`` is the median time of a hand-over, one way, and ``latency_spread_us`` its
    interquartile range; ``bandwidth_gb_s`` counts each byte of a copy once. ``cores`` are those of
    the two engines: the figures hold for no others. ``date`` is an ISO date.
    """

    board: str
    between: tuple[str, str]
    cores: tuple[tuple[int, ...], tuple[int, ...]]
    latency_us: float
    latency_spread_us: float
    bandwidth_gb_s: float
    repeats: int
    device: DeviceStamp
    date: str

    def __post_init__(self) -> None:
        figures = (self.latency_us, self.bandwidth_gb_s)
        if not all(0 < figure < math.inf for figure in figures):
            raise PartitionError("link", f"{figures} are not a latency and a bandwidth")

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> LinkMeasurement:
        """The record as a store holds it."""
        a, b = data["cores"]
        return cls(
            **data
            | {
                "between": tuple(data["between"]),
                "cores": (tuple(a), tuple(b)),
                "device": DeviceStamp.of_json(data["device"]),
            }
        )

    def fits(self, a: Engine, b: Engine) -> bool:
        """Whether it was taken between these engines as they are now, in either direction."""
        taken = dict(zip(self.between, self.cores, strict=True))
        return taken == {a.name: a.cores, b.name: b.cores}

    def apply(self, link: Link) -> Link:
        """The link with these figures."""
        origin = f"{self.device.word} {self.date} on {self.device.name}, {self.repeats} times"
        return replace(
            link,
            latency_us=Quantity(self.latency_us, origin),
            bandwidth_gb_s=Quantity(self.bandwidth_gb_s, origin),
        )


@dataclass(frozen=True)
class ProfiledDevice:
    """A device that was profiled for a board, and the kinds of stages that it can run."""

    board: str
    device: DeviceStamp
    runners: tuple[str, ...]
    date: str

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> ProfiledDevice:
        """The record as a store holds it."""
        lists = {"runners": tuple(data["runners"]), "device": DeviceStamp.of_json(data["device"])}
        return cls(**data | lists)


@dataclass(frozen=True)
class Forgotten:
    """A line that takes back all lines before it that are of that board's identity."""

    forget: str


def with_forgotten(
    parse: Callable[[dict[str, Any]], _Record],
) -> Callable[[dict[str, Any]], _Record | Forgotten]:
    """A reader of lines, some of which take others back."""
    return lambda data: Forgotten(data["forget"]) if "forget" in data else parse(data)


def remembered(
    records: Iterable[_Record | Forgotten], board_of: Callable[[_Record], str]
) -> tuple[_Record, ...]:
    """The records that no later line takes back, in their order."""
    kept: list[_Record] = []
    for record in records:
        if isinstance(record, Forgotten):
            kept = [other for other in kept if board_of(other) != record.forget]
        else:
            kept.append(record)
    return tuple(kept)


def measured_links(board: Board, links: Iterable[LinkMeasurement]) -> dict[int, LinkMeasurement]:
    """The latest link of a real device that fits each of the board's, by its position there.

    What an emulated device took is left out.
    """
    found: dict[int, LinkMeasurement] = {}
    for measured in links:
        if measured.board != board.identity or measured.device.is_emulated:
            continue
        for place, link in enumerate(board.links):
            if measured.fits(*(board.engine(name) for name in link.between)):
                found[place] = measured
    return found
