"""The cost table in the form the searches read: dense costs, edges and prices by index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgeweave.partition.contention import memory_interval
from edgeweave.partition.costs import CostTable
from edgeweave.partition.errors import PartitionError
from edgeweave.targets.backend import Refusal

INFINITY = float("inf")


@dataclass(frozen=True)
class Carried:
    """One value between regions: who makes it, who reads it, its size in bytes."""

    producer: int
    consumers: tuple[int, ...]
    nbytes: int


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
        return tuple(
            Carried(v.producer, v.consumers, v.nbytes)
            for v in self.table.values
            if v.producer is not None and v.consumers
        )

    @cached_property
    def price(self) -> tuple[tuple[tuple[float, ...], ...], ...]:
        """Seconds to hand over each value, per source slot and receiving slot."""
        slots = range(self.width)
        links = self.table.transfers

        def seconds(nbytes: int, a: int, b: int) -> float:
            if a == b:
                return 0.0
            link = links[a][b]
            return INFINITY if link is None else link.seconds(nbytes)

        by_size: dict[int, tuple[tuple[float, ...], ...]] = {}
        for nbytes in {v.nbytes for v in self.values}:
            by_size[nbytes] = tuple(tuple(seconds(nbytes, a, b) for b in slots) for a in slots)
        return tuple(by_size[v.nbytes] for v in self.values)

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
        """Every pair of regions joined by at least one value, once, in ascending order."""
        pairs = {(v.producer, c) for v in self.values for c in v.consumers}
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
        """The interval that the shared memory imposes."""
        return memory_interval(self.table)

    def slots_of(self, engine: int) -> tuple[int, ...]:
        """The slots of one engine."""
        return tuple(s for s in range(self.width) if self.engine_of[s] == engine)


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
