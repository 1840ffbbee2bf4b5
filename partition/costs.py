"""The cost table: what each region costs on each slot, and what each border costs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgeweave.partition.errors import PartitionError
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value


class Source(StrEnum):
    """Where a cost comes from, best first. The words are used as they are in every output."""

    MEASURED = "measured"
    TUNING_LOG = "tuning log"
    VENDOR = "vendor-estimated"
    LEARNED = "predicted (learned)"
    ROOFLINE = "predicted (roofline)"


@dataclass(frozen=True)
class Cost:
    """Seconds of one region on one slot, and where the figure comes from."""

    seconds: float
    source: Source

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < float("inf"):
            raise PartitionError("cost table", f"a cost of {self.seconds} s is not a duration")


@dataclass(frozen=True)
class Transfer:
    """Cost of handing values from one slot to another: ``fixed_s + nbytes * s_per_byte``.

    The stage that receives pays it. Conversion of dtype and layout is part of ``s_per_byte``.
    """

    fixed_s: float
    s_per_byte: float
    source: Source

    def seconds(self, nbytes: int) -> float:
        """Seconds to hand over one value of that size."""
        return self.fixed_s + nbytes * self.s_per_byte


@dataclass(frozen=True)
class CostTable:
    """Everything the solver may know.

    ``costs[r][s]`` is the cost or the refusal of region ``r`` on slot ``s``. ``values`` are the
    values between regions; a value is transferred once to each stage that reads it and is not on
    the producer's slot. ``transfers[a][b]`` is the price from slot ``a`` to slot ``b`` (None when
    no link joins their engines); the diagonal is free. ``stage_overhead_s[s]`` is paid once per
    stage. ``dram_bytes[r]`` is what the region moves through the shared memory, and
    ``dram_bytes_per_s`` the bandwidth of that memory.
    """

    regions: tuple[str, ...]
    slots: tuple[Slot, ...]
    costs: tuple[tuple[Cost | Refusal, ...], ...]
    values: tuple[Value, ...]
    transfers: tuple[tuple[Transfer | None, ...], ...]
    stage_overhead_s: tuple[float, ...]
    dram_bytes: tuple[int, ...]
    dram_bytes_per_s: float

    def __post_init__(self) -> None:
        n, m = len(self.regions), len(self.slots)
        square = len(self.transfers) == m and all(len(row) == m for row in self.transfers)
        if len(self.costs) != n or any(len(row) != m for row in self.costs) or not square:
            raise PartitionError("cost table", f"its rows do not match {n} regions x {m} slots")
        if len(self.stage_overhead_s) != m or len(self.dram_bytes) != n:
            raise PartitionError("cost table", "overheads or memory traffic are incomplete")
        for value in self.values:
            if value.producer is not None and any(c <= value.producer for c in value.consumers):
                raise PartitionError("cost table", f"value {value.name!r} is read before it exists")

    @property
    def engines(self) -> tuple[str, ...]:
        """Engine names in the order of their first slot."""
        return tuple(dict.fromkeys(slot.engine for slot in self.slots))

    def seconds(self, region: int, slot: int) -> float | None:
        """Seconds of the region on the slot, or None when the slot refuses it."""
        cost = self.costs[region][slot]
        return cost.seconds if isinstance(cost, Cost) else None
