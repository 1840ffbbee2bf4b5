"""The cost table in the form the searches read: dense costs, edges and prices by index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from edgeweave.partition.contention import memory_seconds
from edgeweave.partition.costs import INFINITY, CostTable, Transfer
from edgeweave.partition.errors import PartitionError
from edgeweave.targets.backend import Refusal

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Carried:
    """One value between regions: who makes it, who reads it, its size in bytes.

    ``given`` holds its own prices between slots, where it has them.
    """

    producer: int
    consumers: tuple[int, ...]
    nbytes: int
    feedback: bool = False
    given: tuple[tuple[Transfer | None, ...], ...] | None = None


@dataclass(frozen=True)
class Problem:
    """A cost table indexed for search; refusals and missing links are infinite costs.

    ``seconds[r][s]`` is the cost of a region, ``price[i][a][b]`` that of handing ``values[i]`` from
    slot ``a`` to slot ``b`` (0 on the diagonal). ``engine_of[s]`` indexes ``engines``.
    """

    table: CostTable

    @property
    def size(self) -> int:
        """Number of regions."""
        return len(self.table.regions)

    @property
    def width(self) -> int:
        """Number of slots."""
        return len(self.table.slots)

    @cached_property
    def engines(self) -> tuple[str, ...]:
        """Engine names in the order of their first slot."""
        return self.table.engines

    @cached_property
    def engine_of(self) -> tuple[int, ...]:
        """The engine index of each slot."""
        index = {name: i for i, name in enumerate(self.engines)}
        return tuple(index[slot.engine] for slot in self.table.slots)

    @cached_property
    def overhead(self) -> tuple[float, ...]:
        """Seconds each slot takes once per stage."""
        return self.table.stage_overhead_s

    @cached_property
    def seconds(self) -> tuple[tuple[float, ...], ...]:
        """Seconds of each region on each slot, infinite where refused."""
        return tuple(
            tuple(INFINITY if isinstance(c, Refusal) else c.seconds for c in row)
            for row in self.table.costs
        )

    @cached_property
    def values(self) -> tuple[Carried, ...]:
        """The values that one region makes and another reads."""
        prices = self.table.prices or (None,) * len(self.table.values)
        return tuple(
            Carried(v.producer, readers, v.nbytes, v.feedback, given)
            for v, given in zip(self.table.values, prices, strict=True)
            if v.producer is not None
            for readers in (tuple(c for c in v.consumers if c != v.producer),)
            if readers
        )

    @cached_property
    def price(self) -> tuple[Matrix, ...]:
        """Seconds the receiving stage pays for each value, per source slot and receiving slot."""
        return self._priced(Transfer.seconds)

    @cached_property
    def send(self) -> tuple[Matrix, ...]:
        """Seconds the sending stage pays for each value, per source slot and reading slot."""
        return self._priced(Transfer.send_seconds)

    @cached_property
    def sends(self) -> bool:
        """Whether any sending stage pays anything."""
        return any(0 < p < INFINITY for m in set(self.send) for row in m for p in row)

    def _priced(self, seconds: Callable[[Transfer, int], float]) -> tuple[Matrix, ...]:
        slots = range(self.width)

        def price(link: Transfer | None, nbytes: int, a: int, b: int) -> float:
            if a == b:
                return 0.0
            return INFINITY if link is None else seconds(link, nbytes)

        known: dict[object, Matrix] = {}  # equal prices are one object
        found = []
        for value in self.values:
            key = (value.nbytes, value.given)
            if key not in known:
                links = value.given or self.table.transfers
                known[key] = tuple(
                    tuple(price(links[a][b], value.nbytes, a, b) for b in slots) for a in slots
                )
            found.append(known[key])
        return tuple(found)

    @cached_property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """For each region, the indices of the values it reads."""
        reads: list[list[int]] = [[] for _ in range(self.size)]
        for i, value in enumerate(self.values):
            for consumer in value.consumers:
                reads[consumer].append(i)
        return tuple(tuple(row) for row in reads)

    @cached_property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """For each region, the indices of the values it makes for others."""
        makes: list[list[int]] = [[] for _ in range(self.size)]
        for i, value in enumerate(self.values):
            makes[value.producer].append(i)
        return tuple(tuple(row) for row in makes)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Every pair of regions that a value orders, once, in ascending order."""
        pairs = {(v.producer, c) for v in self.values if not v.feedback for c in v.consumers}
        return tuple(sorted(pairs))

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """Regions each region reads from, ascending."""
        before: list[list[int]] = [[] for _ in range(self.size)]
        for a, b in self.edges:
            before[b].append(a)
        return tuple(tuple(row) for row in before)

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """Regions that read from each region, ascending."""
        after: list[list[int]] = [[] for _ in range(self.size)]
        for a, b in self.edges:
            after[a].append(b)
        return tuple(tuple(row) for row in after)

    @cached_property
    def memory_s(self) -> float:
        """The interval that the shared memory imposes: all bytes of a frame over its bandwidth."""
        return memory_seconds(sum(self.table.dram_bytes), self.table.dram_bytes_per_s)

    @cached_property
    def memory_bytes(self) -> tuple[int, ...]:
        """Bytes each region keeps on its engine."""
        return self.table.memory_bytes or (0,) * self.size

    @cached_property
    def capacity(self) -> tuple[float, ...]:
        """Bytes each engine can keep; infinite without a limit."""
        return _limits(self.table.capacity_bytes, len(self.engines))

    @cached_property
    def engine_stages(self) -> tuple[float, ...]:
        """The most stages on each engine; infinite without a limit."""
        return _limits(self.table.engine_stages, len(self.engines))

    @cached_property
    def power(self) -> tuple[float | None, ...]:
        """Watts each slot draws while it works, None where the table does not say."""
        return self.table.power_w or (None,) * self.width

    @cached_property
    def is_constrained(self) -> bool:
        """Whether engines or groups of regions restrict a plan beyond refusals and links."""
        limits = (*self.capacity, *self.engine_stages)
        return bool(self.table.colocated) or any(limit < INFINITY for limit in limits)

    def slots_of(self, engine: int) -> tuple[int, ...]:
        """The slots of one engine."""
        return tuple(s for s in range(self.width) if self.engine_of[s] == engine)


def _limits(given: tuple[int | None, ...], count: int) -> tuple[float, ...]:
    return tuple(INFINITY if x is None else x for x in given or (None,) * count)


def check_placeable(table: CostTable) -> None:
    """Raise PartitionError naming the first region that every slot refuses, with all reasons."""
    if not table.regions:
        raise PartitionError("cost table", "it holds no region", "Check that the model has nodes")
    if not table.slots:
        raise PartitionError("cost table", "it holds no slot", "Give the board an engine")
    for name, row in zip(table.regions, table.costs, strict=True):
        refusals = [c for c in row if isinstance(c, Refusal)]
        if len(refusals) == len(row):
            reasons = "; ".join(
                f"{slot}: {refusal.reason} [{refusal.rule}]"
                for slot, refusal in zip(table.slots, refusals, strict=True)
            )
            raise PartitionError(
                f"region {name}",
                f"no slot of the board takes it ({reasons})",
                "Add an engine or a backend that takes it, such as onnxruntime on a CPU",
            )
