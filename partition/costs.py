"""The cost table: what each region costs on each slot, and what each border costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgeweave.partition.contention import Contention
from edgeweave.partition.errors import PartitionError
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value

INFINITY = float("inf")


class Source(StrEnum):
    """Where a cost comes from, best first. The words are used as they are in every output."""

    MEASURED = "measured"
    TUNING_LOG = "tuning log"
    VENDOR = "vendor-estimated"
    LEARNED = "predicted (learned)"
    ROOFLINE = "predicted (roofline)"
    GIVEN = "given"


@dataclass(frozen=True)
class Cost:
    """Seconds of one region on one slot, and where the figure comes from."""

    seconds: float
    source: Source

    def __post_init__(self) -> None:
        _check_duration("a cost", self.seconds)


@dataclass(frozen=True)
class Transfer:
    """Cost of handing values from one slot to another: ``fixed_s + nbytes * s_per_byte``.

    The stage that receives pays it, once per value. What the sending stage pays, once per value
    however many stages read it, is ``send_fixed_s + nbytes * send_s_per_byte``; to readers on
    several slots, the largest of these. Conversion of dtype and layout is part of ``s_per_byte``.
    """

    fixed_s: float
    s_per_byte: float
    source: Source
    send_fixed_s: float = 0.0
    send_s_per_byte: float = 0.0

    def __post_init__(self) -> None:
        for seconds in (self.fixed_s, self.s_per_byte, self.send_fixed_s, self.send_s_per_byte):
            _check_duration("a transfer", seconds)

    def seconds(self, nbytes: int) -> float:
        """Seconds the receiving stage takes to be handed one value of that size."""
        return self.fixed_s + nbytes * self.s_per_byte

    def send_seconds(self, nbytes: int) -> float:
        """Seconds the sending stage takes to hand over one value of that size."""
        return self.send_fixed_s + nbytes * self.send_s_per_byte


def _check_duration(what: str, seconds: float) -> None:
    if not 0 <= seconds < INFINITY:
        raise PartitionError("cost table", f"{what} of {seconds} s is not a duration")


@dataclass(frozen=True)
class CostTable:
    """Everything the solver may know.

    ``costs[r][s]`` is the cost or the refusal of region ``r`` on slot ``s``. ``values`` are the
    values between regions; a value is transferred once to each stage that reads it and is not on
    the producer's slot. ``transfers[a][b]`` is the price from slot ``a`` to slot ``b`` (None when
    no link joins their engines); the diagonal is free. ``stage_overhead_s[s]`` is paid once per
    stage. ``dram_bytes[r]`` is what the region moves through the shared memory, and
    ``dram_bytes_per_s`` the bandwidth of that memory.

    What a table may leave out: ``prices[i]`` replaces ``transfers`` for ``values[i]``, in the same
    shape and for its own size only (None: by the links). ``memory_bytes[r]`` stays on the engine
    that the region is placed on, of which it has ``capacity_bytes[e]`` (None: no limit), engines in
    the order of ``engines``. ``engine_stages[e]`` is the most stages of one plan on an engine.
    ``colocated`` are groups of regions that share one engine. ``power_w[s]`` is what the engine
    draws while the slot works (None: not stated). ``contention`` is how engines slow each other
    down; None: only the bandwidth bounds them.
    """

    regions: tuple[str, ...]
    slots: tuple[Slot, ...]
    costs: tuple[tuple[Cost | Refusal, ...], ...]
    values: tuple[Value, ...]
    transfers: tuple[tuple[Transfer | None, ...], ...]
    stage_overhead_s: tuple[float, ...]
    dram_bytes: tuple[int, ...]
    dram_bytes_per_s: float
    prices: tuple[tuple[tuple[Transfer | None, ...], ...] | None, ...] = ()
    memory_bytes: tuple[int, ...] = ()
    capacity_bytes: tuple[int | None, ...] = ()
    engine_stages: tuple[int | None, ...] = ()
    colocated: tuple[tuple[int, ...], ...] = ()
    power_w: tuple[float | None, ...] = ()
    contention: Contention | None = None

    def __post_init__(self) -> None:
        n, m = len(self.regions), len(self.slots)
        if len(self.costs) != n or any(len(row) != m for row in self.costs):
            raise PartitionError("cost table", f"its rows do not match {n} regions x {m} slots")
        if not all(_is_square(prices, m) for prices in (self.transfers, *self.prices)):
            raise PartitionError("cost table", f"its rows do not match {n} regions x {m} slots")
        if len(self.stage_overhead_s) != m or len(self.dram_bytes) != n:
            raise PartitionError("cost table", "overheads or memory traffic are incomplete")
        for seconds in self.stage_overhead_s:
            _check_duration("an overhead", seconds)
        self._check_optional()
        for value in self.values:
            if value.producer is None or value.feedback:
                continue
            if any(c <= value.producer for c in value.consumers):
                raise PartitionError("cost table", f"value {value.name!r} is read before it exists")

    def _check_optional(self) -> None:
        engines = len(self.engines)
        for name, given, wanted in (
            ("prices", self.prices, len(self.values)),
            ("memory of regions", self.memory_bytes, len(self.regions)),
            ("capacities", self.capacity_bytes, engines),
            ("limits on stages", self.engine_stages, engines),
            ("powers", self.power_w, len(self.slots)),
        ):
            if given and len(given) != wanted:
                raise PartitionError("cost table", f"{len(given)} {name} where {wanted} belong")
        for name, amounts in (
            ("memory", self.memory_bytes),
            ("capacity", self.capacity_bytes),
            ("limit on stages", self.engine_stages),
            ("power", self.power_w),
            ("memory traffic", self.dram_bytes),
        ):
            for amount in amounts:
                if amount is not None and not 0 <= amount < INFINITY:
                    raise PartitionError("cost table", f"a {name} of {amount} is no amount")
        for group in self.colocated:
            if len(group) < 2 or not all(0 <= r < len(self.regions) for r in group):
                raise PartitionError("cost table", f"{list(group)} is no group of its regions")

    @property
    def engines(self) -> tuple[str, ...]:
        """Engine names in the order of their first slot."""
        return tuple(dict.fromkeys(slot.engine for slot in self.slots))

    def seconds(self, region: int, slot: int) -> float | None:
        """Seconds of the region on the slot, or None when the slot refuses it."""
        cost = self.costs[region][slot]
        return cost.seconds if isinstance(cost, Cost) else None


def _is_square(rows: Sequence[Sequence[Transfer | None]] | None, size: int) -> bool:
    return rows is None or (len(rows) == size and all(len(row) == size for row in rows))
