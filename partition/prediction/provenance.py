"""Where a figure was taken: on which device, in which state, and whether its CPU is a real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from edgeweave.partition.errors import PartitionError

Word: TypeAlias = Literal["measured", "emulated"]


@dataclass(frozen=True)
class DeviceStamp:
    """The device that a figure comes from, and its state while the figure was taken.

    ``serial`` is "" where the device has none. ``parts`` names the CPU of each core, "" where it
    cannot be read. ``word`` is what its figures are called. ``governors`` are the distinct ones of
    the cores that worked, temperatures are degrees Celsius before and after; both empty or None
    where the device cannot tell. ``versions`` are those of the software on the device.
    """

    name: str
    serial: str
    arch: str
    parts: tuple[str, ...]
    word: Word
    governors: tuple[str, ...] = ()
    temperature_before_c: float | None = None
    temperature_after_c: float | None = None
    versions: str = ""

    def __post_init__(self) -> None:
        if self.word not in get_args(Word):
            raise PartitionError("device", f"{self.word!r} is no word for its figures")

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> DeviceStamp:
        """The stamp as a store holds it, with arrays for tuples."""
        lists = {key: tuple(data.get(key, ())) for key in ("parts", "governors")}
        return cls(**(dict(data) | lists))

    @property
    def is_emulated(self) -> bool:
        """Whether its CPU is imitated: its figures say nothing about a board's speed."""
        return self.word == "emulated"

    @property
    def kind(self) -> tuple[str, tuple[str, ...]]:
        """What two devices have in common whose figures can stand for each other."""
        return self.arch, self.parts

    def is_same_device(self, other: DeviceStamp) -> bool:
        """Whether both are one device, as far as it can be told."""
        if self.serial and other.serial:
            return self.serial == other.serial
        return (self.name, self.kind) == (other.name, other.kind)

    def __str__(self) -> str:
        """``rack-07 (aarch64, 4x cortex-a55, 4x cortex-a76)``."""
        counts = Counter(part or "unknown CPU" for part in self.parts)
        cpus = (f"{count}x {part}" for part, count in counts.items())
        return f"{self.name} ({', '.join((self.arch, *cpus))})"


def stamp_from(data: Mapping[str, Any]) -> DeviceStamp | None:
    """The stamp of a stored record; None for one that this machine's own measurement wrote."""
    device = data.get("device")
    return None if device is None else DeviceStamp.of_json(device)
